//! Short factual questions with four options, made by this project and shaped as MedMCQA.

use super::{Benchmark, medmcqa, worded};
use crate::{Item, read_items};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mini_medmcqa",
    title: "Mini facts (MedMCQA-shaped)",
    synthetic: true,
    files: &["mini_medmcqa.jsonl"],
    read: read_items,
    prompt: |item| worded(item, medmcqa::prompt(item)),
    ask: Item::user_turn,
    ..medmcqa::BENCHMARK
};
