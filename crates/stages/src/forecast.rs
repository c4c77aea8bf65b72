//! What the learning stages foresee of each other's artifacts, from shapes: see [`Forecast`] in the stage contract.

use std::collections::BTreeMap;

use gazal_lm::weights::Precision;
use gazal_lm::{AdapterConfig, Config};
use gazal_stage_api::{Foreseen, Foresight};
use serde_json::{Map, Value};

use crate::memory::{adapter_bytes, weight_bytes};

/// The files of a model and of an adapter that say what they are, and what is known of a tokenizer to come.
const CONFIG: &str = "config";
const ADAPTER_CONFIG: &str = "adapter_config";
const VOCAB_SIZE: &str = "vocab_size";

/// The shape of the model at a port.
pub fn config(inputs: &Foresight, port: &str) -> Option<Config> {
    Config::from_json(inputs.fact(port, CONFIG)?).ok()
}

/// The shape of the adapter at a port.
pub fn adapter_config(inputs: &Foresight, port: &str) -> Option<AdapterConfig> {
    AdapterConfig::from_json(inputs.fact(port, ADAPTER_CONFIG)?).ok()
}

/// How many tokens the tokenizer at a port knows; one to come may end up with fewer.
pub fn vocab_size(inputs: &Foresight, port: &str) -> Option<usize> {
    if let Some(said) = inputs.fact(port, VOCAB_SIZE) {
        return usize::try_from(said.as_u64()?).ok();
    }
    let file = inputs.fact(port, "tokenizer")?;
    let words = file["model"]["vocab"].as_object()?.values().filter_map(Value::as_u64);
    let added = file["added_tokens"].as_array().into_iter().flatten().filter_map(|token| token["id"].as_u64());
    usize::try_from(words.chain(added).max()? + 1).ok()
}

/// Bytes of text that make a token, by a rule of thumb.
pub const BYTES_A_TOKEN: u64 = 4;

/// How many rows a stage takes, where there are no more than its limit (0 for none), and about how many tokens each has.
pub fn rows(inputs: &Foresight, port: &str, limit: usize) -> Option<(u64, u64)> {
    let all = inputs.inputs.get(port).map_or(&[][..], Vec::as_slice);
    let counts: Option<Vec<u64>> = all.iter().map(|one| one.fact(Foreseen::ROWS)?.as_u64()).collect();
    let bytes: Option<u64> = all.iter().map(|one| one.bytes).sum();
    let known = counts.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum::<u64>());
    let tokens = known.zip(bytes).map_or(0, |(rows, bytes)| bytes / rows.max(1) / BYTES_A_TOKEN);
    let limit = (limit > 0).then_some(limit as u64);
    let rows = known.map_or(limit, |known| Some(limit.map_or(known, |limit| limit.min(known))));
    Some((rows?, tokens))
}

/// A data set of at most so many rows, as the output of that name.
pub fn dataset(rows: u64) -> BTreeMap<String, Foreseen> {
    one("dataset", Foreseen::made(None, fact(Foreseen::ROWS, rows.into())))
}

/// A model of this shape, as the output of that name.
pub fn model(config: &Config) -> BTreeMap<String, Foreseen> {
    one("model", Foreseen::made(Some(weight_bytes(config, Precision::F32)), fact(CONFIG, config.to_json().into())))
}

/// An adapter of a model of this shape, as the output of that name.
pub fn adapter(config: &Config, adapter: &AdapterConfig) -> BTreeMap<String, Foreseen> {
    let facts = fact(ADAPTER_CONFIG, adapter.to_json());
    one("adapter", Foreseen::made(Some(adapter_bytes(config, adapter)), facts))
}

pub fn tokenizer(vocab_size: usize) -> BTreeMap<String, Foreseen> {
    one("tokenizer", Foreseen::made(None, fact(VOCAB_SIZE, vocab_size.into())))
}

fn fact(name: &str, value: Value) -> Map<String, Value> {
    [(name.to_string(), value)].into_iter().collect()
}

fn one(name: &str, output: Foreseen) -> BTreeMap<String, Foreseen> {
    [(name.to_string(), output)].into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::{Path, PathBuf};

    use gazal_lm::{Tokenizer, train_bpe};
    use gazal_stage_api::{DynKind, Forecast};
    use serde_json::json;

    use super::*;

    fn adapted(name: &str) -> PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/adapters")).join(name)
    }

    /// The bytes of the numbers in a file of tensors.
    fn numbers_in(file: &Path) -> u64 {
        let bytes = std::fs::read(file).unwrap();
        bytes.len() as u64 - 8 - u64::from_le_bytes(bytes[..8].try_into().unwrap())
    }

    fn is_close(foreseen: u64, made: u64) -> bool {
        foreseen <= made && foreseen as f64 > 0.98 * made as f64
    }

    #[test]
    fn models_and_adapters_are_as_large_as_foreseen() {
        for name in ["lora", "dora-rslora"] {
            let config = Config::load(&adapted(name).join("base")).unwrap();
            let made = numbers_in(&adapted(name).join("base/model.safetensors"));
            assert!(
                is_close(weight_bytes(&config, Precision::F32), made),
                "{name}: {} of {made}",
                weight_bytes(&config, Precision::F32)
            );
            let adapter = AdapterConfig::load(&adapted(name).join("adapter")).unwrap();
            let made = numbers_in(&adapted(name).join("adapter/adapter_model.safetensors"));
            assert_eq!(adapter_bytes(&config, &adapter), made, "{name}");
        }
    }

    fn of_tokenizer(tokenizer: Foreseen) -> Foresight {
        Foresight { inputs: [("tokenizer".into(), vec![tokenizer])].into(), ..Foresight::default() }
    }

    #[test]
    fn a_vocabulary_is_foreseen_and_counted() {
        let to_come = of_tokenizer(tokenizer(700)["tokenizer"].clone());
        assert_eq!(vocab_size(&to_come, "tokenizer"), Some(700));
        let folder = tempfile::tempdir().unwrap();
        train_bpe(&["a text of some words, and of more words".to_string()], 300, folder.path()).unwrap();
        let read = {
            let folder = folder.path().to_path_buf();
            move |name: &str| serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).ok()?).ok()
        };
        let there = of_tokenizer(Foreseen::there(None, read));
        let size = Tokenizer::load(folder.path()).unwrap().vocab_size();
        assert_eq!(vocab_size(&there, "tokenizer"), Some(size));
    }

    /// What a kind foresees, as its reader is told.
    fn foresee(kind: &dyn DynKind, params: &Value, inputs: &[(&str, &Foreseen)]) -> Forecast {
        let inputs = inputs.iter().map(|(port, one)| ((*port).to_string(), vec![(*one).clone()])).collect();
        kind.forecast(params.as_object().unwrap(), &Foresight { inputs, ..Foresight::default() })
    }

    #[test]
    fn shapes_go_from_stage_to_stage_before_anything_runs() {
        let tokens = foresee(&crate::tokenizer::TrainTokenizer, &json!({ "vocab_size": 512 }), &[]);
        let base = |max_steps: u64, inputs: &[(&str, &Foreseen)]| {
            let params = json!({
                "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                "num_key_value_heads": 2, "head_dim": 16, "max_length": 32, "max_steps": max_steps, "learning_rate": 1e-3
            });
            foresee(&crate::pretrain::Pretrain, &params, inputs)
        };
        let unknown = base(10, &[]);
        assert!(unknown.outputs.is_empty() && unknown.peak_bytes.is_none());
        assert_eq!(base(30, &[]).work.unwrap(), 3.0 * unknown.work.unwrap());

        let base = base(10, &[("tokenizer", &tokens.outputs["tokenizer"])]);
        let model = &base.outputs["model"];
        let weights = 4 * (512 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128));
        assert_eq!(model.bytes, Some(weights));
        assert!(base.peak_bytes.unwrap() > 4 * weights, "weights, gradients and two moments");

        let sft = json!({ "num_train_epochs": 2.0, "learning_rate": 1e-3, "lora_r": 4, "use_dora": true });
        let sft = foresee(&crate::sft::Sft, &sft, &[("model", model)]);
        let adapter = &sft.outputs["adapter"];
        assert!(sft.peak_bytes.unwrap() > weights + 4 * adapter.bytes.unwrap());
        let grpo = json!({
            "max_steps": 5, "learning_rate": 1e-3, "num_generations": 4, "max_completion_length": 16,
            "reward_funcs": ["format"]
        });
        let grpo = foresee(&crate::grpo::Grpo, &grpo, &[("model", model), ("adapter", adapter)]);
        assert_eq!(grpo.outputs["adapter"].bytes, adapter.bytes);
        let merge = foresee(&crate::merge::Merge, &json!({}), &[("model", model), ("adapter", adapter)]);
        assert_eq!((merge.outputs["model"].bytes, merge.peak_bytes), (Some(weights), Some(2 * weights)));
        let eval = json!({ "label": "merged", "group": "merged", "limit": 50 });
        let eval = foresee(&crate::eval::Eval, &eval, &[("model", &merge.outputs["model"])]);
        assert_eq!((eval.work, eval.peak_bytes), (Some(100.0), Some(weights)));
    }
}
