//! Merges of small models on the disk: what is written loads, and says what the methods say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gazal_lm::weights::{Named, Weights, save, to_host};
use gazal_lm::{Decoder, TokenBatch, Tokenizer};
use gazal_stage_api::{Backend, Context, DeviceRequest, Folders, Kind, Precision, StageError};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{MergeModels, Params, problems};

fn fixture() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/qwen3")).to_path_buf()
}

/// A copy of the fixture whose numbers are changed.
fn model(change: impl Fn(&str, usize, f32) -> f32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture()).unwrap().flatten() {
        fs::write(folder.path().join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
    let weights = Weights::load_model(&fixture()).unwrap();
    let tensor = |name: &str| -> Named {
        let values = weights.read(name).unwrap().into_iter().enumerate().map(|(at, value)| change(name, at, value));
        (name.to_string(), weights.shape(name).unwrap().to_vec(), values.collect())
    };
    let tensors: Vec<Named> = weights.names().map(tensor).collect();
    save(&folder.path().join("model.safetensors"), &tensors).unwrap();
    folder
}

fn same() -> TempDir {
    model(|_, _, value| value)
}

struct Merged {
    folder: TempDir,
    metrics: Value,
}

impl Merged {
    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn tensors(&self) -> BTreeMap<String, Vec<f32>> {
        tensors(&self.model())
    }
}

fn tensors(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let weights = Weights::load_model(folder).unwrap();
    weights.names().map(|name| (name.to_string(), weights.read(name).unwrap())).collect()
}

fn merge(models: &[&Path], params: Value) -> Result<Merged, StageError> {
    let params: Params = serde_json::from_value(params).unwrap();
    assert!(MergeModels.validate(&params).is_empty(), "{:?}", MergeModels.validate(&params));
    let folder = tempfile::tempdir().unwrap();
    let output = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        (name.to_string(), path)
    };
    let folders = Folders {
        inputs: [("models".to_string(), models.iter().map(|model| model.to_path_buf()).collect())].into(),
        outputs: ["model", "metrics"].map(output).into(),
        ..Folders::default()
    };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    let (mut report, cancelled) = (|_| (), || false);
    MergeModels.run(params, &mut Context::new(folders, 7, device, &mut report, &cancelled))?;
    let metrics = fs::read(folder.path().join("metrics/metrics.json")).unwrap();
    Ok(Merged { metrics: serde_json::from_slice::<Value>(&metrics).unwrap()["merge"].take(), folder })
}

fn logits(folder: &Path) -> Vec<f32> {
    let decoder = Decoder::load(folder, &Device::flex()).unwrap();
    to_host(decoder.forward(&TokenBatch::right_padded(&[&[5, 9, 40, 7]], 0)))
}

/// I21: what is merged with itself stays what it is, by every method.
#[test]
fn i21_equal_models_are_their_merge() {
    let (a, b) = (same(), same());
    let models = json!([{ "model": "a" }, { "model": "b" }]);
    for config in [
        json!({ "merge_method": "linear", "models": models, "parameters": { "weight": 0.5 } }),
        json!({ "merge_method": "slerp", "base_model": "a", "models": models, "parameters": { "t": 0.3 } }),
        json!({ "merge_method": "task_arithmetic", "base_model": "a", "models": [{ "model": "b" }], "parameters": { "weight": 0.5 } }),
        json!({ "merge_method": "ties", "base_model": "a", "models": [{ "model": "b" }], "parameters": { "weight": 1.0, "density": 0.5 } }),
        json!({ "merge_method": "dare_ties", "base_model": "a", "models": [{ "model": "b" }], "parameters": { "weight": 1.0, "density": 0.5 } }),
        json!({ "merge_method": "breadcrumbs", "base_model": "a", "models": [{ "model": "b" }], "parameters": { "weight": 1.0 } }),
    ] {
        let merged = merge(&[a.path(), b.path()], json!({ "config": config })).unwrap();
        let (found, wanted) = (merged.tensors(), tensors(a.path()));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (name, values) in &wanted {
            let close = found[name].iter().zip(values).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3));
            assert!(close, "{config}: {name}");
        }
        assert!(merged.metrics["relative_change"].as_f64().unwrap() < 1e-6, "{}", merged.metrics);
    }
}

#[test]
fn half_of_one_and_half_of_another_is_between_them_and_loads() {
    let (a, b) = (same(), model(|_, at, value| value + (at % 3) as f32 * 0.01));
    let config = json!({ "merge_method": "linear", "models": [
        { "model": "a", "parameters": { "weight": [{ "filter": "mlp", "value": 1.0 }, { "value": 0.5 }] } },
        { "model": "b", "parameters": { "weight": [{ "filter": "mlp", "value": 0.0 }, { "value": 0.5 }] } },
    ], "out_dtype": "bfloat16" });
    let merged = merge(&[b.path(), a.path()], json!({ "config": config, "names": ["b", "a"] })).unwrap();
    let (found, one, other) = (merged.tensors(), tensors(a.path()), tensors(b.path()));
    for (name, values) in &found {
        let share = if name.contains("mlp") { 0.0 } else { 0.5 };
        for (at, value) in values.iter().enumerate() {
            let wanted = one[name][at] * (1.0 - share) + other[name][at] * share;
            assert!((value - wanted).abs() <= wanted.abs() / 128.0, "{name}: {value} {wanted}");
        }
    }
    let config: Value = serde_json::from_slice(&fs::read(merged.model().join("config.json")).unwrap()).unwrap();
    assert!(["dtype", "torch_dtype"].iter().any(|name| config[*name] == "bfloat16"), "{config}");
    assert!(logits(&merged.model()).iter().all(|logit| logit.is_finite()));
    assert!(Tokenizer::load(&merged.model()).is_ok());
    assert!(merged.metrics["relative_change"].as_f64().unwrap() > 1e-3);
}

/// What DARE drops follows from the seed alone, not from threads or the number of models at the port.
#[test]
fn what_is_dropped_by_chance_is_the_same_again() {
    let (a, b) = (same(), model(|_, at, value| value + (at % 7) as f32 * 0.01));
    let config = json!({ "merge_method": "dare_linear", "base_model": "a", "models": [{ "model": "b" }],
        "parameters": { "density": 0.5, "weight": 1.0 } });
    let of =
        |models: &[&Path], names: Value| merge(models, json!({ "config": config, "names": names })).unwrap().tensors();
    let first = of(&[a.path(), b.path()], json!(["a", "b"]));
    assert_eq!(first, of(&[b.path(), a.path()], json!(["b", "a"])));
    let kept = |name: &str| {
        let (before, after) = (&tensors(a.path())[name], &first[name]);
        before.iter().zip(after).filter(|(before, after)| before != after).count() as f64 / before.len() as f64
    };
    let share = kept("model.embed_tokens.weight");
    // Six in seven numbers differ at all.
    assert!((share - 0.5 * 6.0 / 7.0).abs() < 0.03, "{share}");
}

#[test]
fn layers_are_stacked() {
    let a = same();
    let slice = |range: [usize; 2]| json!({ "sources": [{ "model": "a", "layer_range": range }] });
    let config = json!({ "merge_method": "passthrough", "slices": [slice([0, 2]), slice([1, 2])] });
    let merged = merge(&[a.path()], json!({ "config": config })).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(merged.model().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["num_hidden_layers"], 3);
    let found = merged.tensors();
    let last = |layer: usize| found[&format!("model.layers.{layer}.mlp.up_proj.weight")].clone();
    assert!(last(1) == last(2) && last(0) != last(1));
    assert!(logits(&merged.model()).iter().all(|logit| logit.is_finite()));
}

#[test]
fn tokenizers_are_united() {
    let (a, b) = (same(), same());
    let path = b.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut added = tokenizer["added_tokens"][0].clone();
    let last = added["id"].as_u64().unwrap();
    let rows = tensors(b.path())["model.embed_tokens.weight"].len();
    (added["content"], added["id"]) = (json!("<|of b alone|>"), json!(last + 1));
    let all = tokenizer["added_tokens"].as_array_mut().unwrap();
    let free = all.iter().filter_map(|token| token["id"].as_u64()).max().unwrap() + 1;
    added["id"] = json!(free);
    all.push(added);
    fs::write(&path, tokenizer.to_string()).unwrap();
    assert!((free as usize) < rows, "the fixture keeps rows for no token");
    let config = json!({ "merge_method": "linear", "models": [{ "model": "a" }, { "model": "b" }],
        "parameters": { "weight": 0.5 }, "tokenizer_source": "union" });
    let merged = merge(&[a.path(), b.path()], json!({ "config": config })).unwrap();
    let tokenizer = Tokenizer::load(&merged.model()).unwrap();
    assert_eq!(tokenizer.encode("<|of b alone|>").unwrap().len(), 1);
    assert!(logits(&merged.model()).iter().all(|logit| logit.is_finite()));
}

#[test]
fn what_does_not_match_is_refused() {
    let (a, broken) =
        (same(), model(|name, at, value| if name == "model.norm.weight" && at == 3 { f32::NAN } else { value }));
    let linear = json!({ "merge_method": "linear", "models": [{ "model": "a" }, { "model": "broken" }], "parameters": { "weight": 0.5 } });
    let told = merge(&[a.path(), broken.path()], json!({ "config": linear })).err().unwrap().to_string();
    assert!(told.contains("`model.norm.weight` of `broken` has NaN at index 3"), "{told}");
    let told = merge(&[a.path()], json!({ "config": linear })).err().unwrap().to_string();
    assert!(told.contains("1 models are at the port `models`, and 2 are named: a, broken"), "{told}");
    let other = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/llama"));
    let told = merge(&[a.path(), other], json!({ "config": linear })).err().unwrap().to_string();
    assert!(told.contains("broken"), "{told}");
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let wrong = |params: Value| {
        let params: Params = serde_json::from_value(params).unwrap();
        MergeModels
            .validate(&params)
            .into_iter()
            .map(|problem| format!("{}: {}", problem.field, problem.message))
            .collect::<Vec<_>>()
    };
    let neither = wrong(json!({}));
    assert!(neither[0].contains("either `config` or `config_file`"), "{neither:?}");
    let slerp = wrong(json!({ "config": { "merge_method": "slerp", "models": [{ "model": "a" }, { "model": "b" }] } }));
    assert!(!slerp.is_empty() && slerp.iter().all(|problem| problem.starts_with("config")), "{slerp:?}");
    let linear = json!({ "merge_method": "linear", "models": [{ "model": "a" }, { "model": "b" }], "parameters": { "weight": 0.5 } });
    let names = wrong(json!({ "config": linear, "names": ["a", "c"] }));
    assert!(names[0].contains("do not have what the configuration names: b"), "{names:?}");
    assert_eq!(problems(&gazal_merge::MergeError::Yaml("x".into()))[0].field, "config");
}

/// mergekit's file as it is, whose names are those of the hub.
#[test]
fn a_file_of_mergekit_is_taken_as_it_is() {
    let (a, b) = (same(), model(|_, _, value| value * 1.5));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("merge.yml");
    fs::write(&file, "merge_method: linear\nmodels:\n  - model: org/a-7b\n    parameters: {weight: 1}\n  - model: ./b\n    parameters: {weight: 1}\n").unwrap();
    let folders = Folders {
        inputs: [("models".to_string(), vec![a.path().to_path_buf(), b.path().to_path_buf()])].into(),
        outputs: ["model", "metrics"].map(|name| (name.to_string(), folder.path().to_path_buf())).into(),
        paths: [("config_file".to_string(), vec![file])].into(),
        ..Folders::default()
    };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    let (mut report, cancelled) = (|_| (), || false);
    let params = Params { config: None, config_file: Some("merge.yml".into()), names: Vec::new() };
    MergeModels.run(params, &mut Context::new(folders, 7, device, &mut report, &cancelled)).unwrap();
    let (found, wanted) = (tensors(folder.path()), tensors(a.path()));
    let name = "model.layers.0.mlp.up_proj.weight";
    assert!(found[name].iter().zip(&wanted[name]).all(|(found, a)| (found - 1.25 * a).abs() < 1e-6));
}
