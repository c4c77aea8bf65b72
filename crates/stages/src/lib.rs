//! The built-in stage kinds, one folder each, and the one list of them.

mod character_model;
mod checkpoints;
mod classifier;
mod comparing;
mod contamination;
mod curate;
mod defaults;
mod device;
mod embedded;
mod endpoint;
mod eval;
mod examples;
mod fetch;
mod forecast;
mod grade;
mod grpo;
mod history;
mod import;
mod memory;
mod merge;
mod merge_models;
mod optimization;
mod optimizer_study;
pub mod page;
mod parameters;
mod peft;
mod pretrain;
mod prompt;
mod report;
mod respondent;
mod rows;
mod sft;
mod supervised;
mod symmetry;
mod symmetry_study;
mod synth;
mod teach;
mod tokenizer;

use gazal_stage_api::Kinds;

pub use fetch::resolve;

/// Every built-in kind.
pub fn kinds() -> Kinds {
    Kinds::new(vec![
        &fetch::FetchModel,
        &fetch::FetchDataset,
        &import::ImportGguf,
        &synth::Knowledge,
        &synth::Synth,
        &synth::Benchmarks,
        &synth::OpenQuestions,
        &teach::Teach,
        &grade::Grade,
        &tokenizer::TrainTokenizer,
        &pretrain::Pretrain,
        &sft::Sft,
        &grpo::Grpo,
        &merge::Merge,
        &merge_models::MergeModels,
        &eval::Eval,
        &contamination::Contamination,
        &curate::Curate,
        &report::ReportKind,
        &symmetry::Symmetry,
        &symmetry_study::SymmetryStudy,
        &classifier::Digits,
        &classifier::TrainClassifier,
        &character_model::Play,
        &character_model::TrainCharacterModel,
        &optimizer_study::OptimizerStudy,
    ])
}
