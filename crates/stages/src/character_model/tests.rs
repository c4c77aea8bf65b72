//! The model against PyTorch's, and whole trainings on a small text.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::tensor::Device;
use gazal_data::Stream;
use gazal_lm::weights::to_host;
use gazal_stage_api::{Backend, Context, DeviceRequest, DynKind, Folders, Kind, StageError};
use gazal_train::Optimizer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::text::Batch;
use super::*;

const DESIGN: Design = Design { n_layer: 2, n_head: 2, n_embd: 8, block_size: 6, characters: 7, dropout: 0.2 };

fn network() -> Network {
    let cpu = gazal_lm::device::open("cpu", None).unwrap();
    Network::new(DESIGN, &cpu, |name, index| ((index * 37 + name.len() as u64 * 11) % 101) as f64 / 101.0)
}

/// Three rows of a text of 40.
fn three() -> Batch {
    let text: Vec<usize> = (0..40).map(|i| (5 * i + i * i / 3) % 7).collect();
    let shifted = |by: usize| [0, 9, 23].iter().flat_map(|at| &text[at + by..at + by + 6]).copied().collect();
    Batch { rows: 3, characters: shifted(0), next: shifted(1) }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} is not {expected}");
}

/// The norm of a gradient and its first three numbers, of PyTorch 2.15 on the same weights, text and masks
/// (`tests/bench/text/network.py`).
const GRADIENTS: [(&str, f64, [f64; 3]); 16] = [
    ("token_embedding_table.weight", 0.14719544, [0.004327965, 0.0055353395, -0.014477085]),
    ("position_embedding_table.weight", 0.12410283, [0.031144828, 0.020412322, -0.042888373]),
    ("blocks.0.sa.heads.0.key.weight", 0.00524811, [0.00058155681, 0.0017375833, -0.0011567395]),
    ("blocks.0.sa.heads.0.query.weight", 0.00648280, [-0.0014533598, 0.00297995, -0.0028509714]),
    ("blocks.0.sa.heads.0.value.weight", 0.09395664, [0.023472967, 0.0031837998, -0.02131578]),
    ("blocks.0.sa.heads.1.key.weight", 0.00519629, [0.00026580293, 0.00015803915, 6.0972889e-05]),
    ("blocks.0.sa.heads.1.value.weight", 0.10924342, [-0.0016382933, -0.0048975679, 0.0024998507]),
    ("blocks.0.sa.proj.bias", 0.11685802, [0.010652912, 0.024696879, -0.021131961]),
    ("blocks.0.ff.net.0.weight", 0.12310027, [0.0024674446, -0.0053711166, 0.0049868841]),
    ("blocks.0.ln1.weight", 0.01093459, [0.0030061114, -0.001532775, -0.0025328863]),
    ("blocks.1.sa.heads.1.query.weight", 0.00646734, [-0.0023986639, -0.0013062828, -0.0022909411]),
    ("blocks.1.sa.proj.weight", 0.21895610, [-0.0078069316, 0.015408229, 0.015408229]),
    ("blocks.1.ff.net.2.weight", 0.36063081, [-0.0012583109, 0.00035214715, 0.0066794953]),
    ("blocks.1.ln2.bias", 0.01868302, [-0.010587595, 0.0072824112, -0.0018939946]),
    ("ln_f.weight", 0.19062324, [0.010435984, 0.0094649978, 0.18634874]),
    ("lm_head.bias", 0.30879271, [0.017233379, 0.16629396, -0.0042042844]),
];

#[test]
fn a_step_of_the_model_is_pytorch_s() {
    let (mut network, batch) = (network(), three());
    close(network.evaluate(&batch), 2.08987927, 1e-5, "loss without dropout");
    let dropout = Stream::new(5, "dropout");
    let (loss, gradients) = network.learn(&batch, |place| dropout.quick(2, place));
    close(loss, 2.06341457, 1e-5, "loss");
    assert_eq!(gradients.names().count(), DESIGN.parts().len());
    for (name, norm, first) in GRADIENTS {
        let found = to_host(gradients.get(name).unwrap().clone());
        let length = found.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        close(length, norm, 1e-3 * norm, name);
        first.iter().zip(&found).for_each(|(expected, found)| close(f64::from(*found), *expected, 1e-3 * norm, name));
    }
    close(gradients.global_norm(), 1.16947495, 1e-4, "all gradients");

    let config = OptimConfig { kind: OptimKind::Sgd, ..OptimConfig::default() };
    Optimizer::new(config).step_vectors(network.vectors(), &gradients, 0.1);
    close(network.evaluate(&batch), 1.96582925, 1e-5, "loss after the step");
}

#[test]
fn nothing_is_dropped_without_dropout_and_a_restored_model_is_the_same() {
    let cpu = Device::flex();
    let still = Network::new(Design { dropout: 0.0, ..DESIGN }, &cpu, |_, index| (index % 7) as f64 / 7.0);
    let (loss, _) = still.learn(&three(), |place| Stream::new(5, "dropout").quick(2, place));
    close(loss, still.evaluate(&three()), 1e-5, "the same pass");

    let (network, mut other) = (network(), still);
    assert_ne!(network.evaluate(&three()), other.evaluate(&three()));
    let named = network.named().into_iter().map(|(name, _, values)| (name, values));
    let mut saved: BTreeMap<String, Vec<f32>> = named.collect();
    other.restore(&saved).unwrap();
    assert_eq!(network.evaluate(&three()), other.evaluate(&three()));
    saved.remove("ln_f.bias");
    assert_eq!(other.restore(&saved), Err("ln_f.bias".to_string()));
}

/// 1,440 characters, eleven different ones: 1,296 to train on and 144 held out.
const POEM: &str = "the cat sat on the mat. ";

fn parameters(changes: &Value) -> Value {
    let mut all = json!({"label": "exadam", "group": "seed 1", "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8,
        "max_steps": 30, "learning_rate": 0.003, "per_device_train_batch_size": 8, "eval_steps": 10, "eval_batches": 3});
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    all
}

struct Space(TempDir);

impl Space {
    fn new() -> Space {
        let space = Space(tempfile::tempdir().unwrap());
        fs::create_dir(space.path("in")).unwrap();
        fs::write(space.path("in/poem.txt"), POEM.repeat(60)).unwrap();
        space
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the stage, which is asked to stop the `stops`th time it asks.
    fn run(&self, changes: &Value, stops: usize) -> Result<BTreeMap<String, Vec<u8>>, StageError> {
        let params: Params = serde_json::from_value(parameters(changes)).unwrap();
        let outputs = ["metrics", "history"].map(|name| (name.to_string(), self.path(name)));
        for (_, path) in &outputs {
            let _ = fs::remove_dir_all(path);
            fs::create_dir(path).unwrap();
        }
        fs::create_dir_all(self.path("wip")).unwrap();
        let folders = Folders {
            inputs: [("dataset".to_string(), vec![self.path("in")])].into(),
            outputs: outputs.clone().into(),
            wip: self.path("wip"),
            ..Folders::default()
        };
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let asked = std::cell::Cell::new(0);
        let cancelled = || {
            asked.set(asked.get() + 1);
            asked.get() == stops
        };
        let mut report = |_| ();
        let mut context = Context::new(folders, 1, device, &mut report, &cancelled);
        Kind::run(&TrainCharacterModel, params, &mut context)?;
        let files = outputs.iter().flat_map(|(_, folder)| fs::read_dir(folder).unwrap());
        let file = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        Ok(files.map(|entry| file(entry.unwrap().path())).collect())
    }

    fn outcome(&self, changes: &Value) -> BTreeMap<String, Vec<u8>> {
        let _ = fs::remove_dir_all(self.path("wip"));
        self.run(changes, 0).unwrap()
    }

    fn log(&self, changes: &Value) -> Vec<Value> {
        read(&self.outcome(changes), "trainer_state.json")["log_history"].as_array().unwrap().clone()
    }
}

fn read(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

#[test]
fn a_training_learns_and_tells_what_it_learnt() {
    let files = Space::new().outcome(&json!({"max_steps": 95}));
    let metrics = read(&files, "metrics.json")["poem"].clone();
    assert!(metrics["eval_loss"].as_f64().unwrap() < 0.6, "{metrics}: guessing has ln 11 = 2.4");
    // By hand: 11·16 + 8·16, 3·256 + 272 + 1088 + 1040 + 64, 32, 11·16 + 11.
    assert_eq!((&metrics["parameters"], &metrics["characters"]), (&json!(3755.0), &json!(11.0)));
    let history = read(&files, "trainer_state.json");
    let log = history["log_history"].as_array().unwrap();
    let steps: Vec<u64> = log.iter().map(|entry| entry["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
    assert_eq!((&log[9]["eval_train_loss"], &log[9]["eval_loss"]), (&metrics["train_loss"], &metrics["eval_loss"]));
    let lowest = log.iter().map(|entry| entry["eval_loss"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!((history["best_metric"].as_f64(), metrics["best_eval_loss"].as_f64()), (Some(lowest), Some(lowest)));
    assert_eq!(history["num_input_tokens_seen"], 95 * 8 * 8);
    close(history["epoch"].as_f64().unwrap(), 6080.0 / 1296.0, 1e-12, "characters seen, of those to train on");
    let stamp = &history["stateful_callbacks"]["character_model"];
    assert_eq!((&stamp["label"], &stamp["group"]), (&json!("exadam"), &json!("seed 1")));
    assert_eq!((&stamp["optim"], &stamp["learning_rate"]), (&json!("exadam"), &json!(0.003)));
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bytes() {
    for optim in ["exadam", "adafactor", "sgd"] {
        let changes = json!({"optim": optim, "lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 0}});
        let space = Space::new();
        let undisturbed = space.outcome(&changes);
        let _ = fs::remove_dir_all(space.path("wip"));
        for stops in [7, 6] {
            assert!(matches!(space.run(&changes, stops), Err(StageError::Cancelled)), "{optim}");
        }
        assert!(space.path("wip/checkpoint-13").exists(), "between two evaluations");
        assert!(space.run(&changes, 0).unwrap() == undisturbed, "{optim}");
    }
}

/// A rate of nearly nothing moves no weight, so that losses tell what was drawn.
#[test]
fn all_optimizers_see_the_same() {
    let space = Space::new();
    let still = |optim: &str| space.log(&json!({"optim": optim, "learning_rate": 1e-12, "max_steps": 20}));
    let (adam, sgd) = (still("adam"), still("sgd"));
    let number = |entry: &Value, name: &str| entry[name].as_f64().unwrap();
    for (adam, sgd) in adam.iter().zip(&sgd) {
        for name in ["loss", "eval_train_loss", "eval_loss"] {
            close(number(adam, name), number(sgd, name), 1e-5, name);
        }
    }
    close(number(&adam[0], "eval_loss"), number(&adam[1], "eval_loss"), 1e-5, "evaluations are of the same batches");
    assert!((number(&adam[0], "loss") - number(&adam[1], "loss")).abs() > 1e-4, "steps are not");
}

#[test]
fn initial_weights_have_a_seed_of_their_own() {
    let space = Space::new();
    let first = |seed: Value| space.log(&json!({"init_seed": seed, "max_steps": 1}))[0]["loss"].clone();
    let own = first(json!(null));
    assert_eq!(own, first(json!(1)), "the stage's seed is 1");
    assert_ne!(own, first(json!(2)));
}

#[test]
fn what_cannot_be_read_or_trained_is_said() {
    let space = Space::new();
    let error = |changes: Value| {
        let _ = fs::remove_dir_all(space.path("wip"));
        space.run(&changes, 0).unwrap_err().to_string()
    };
    assert!(error(json!({"block_size": 143})).contains("1296 characters to train on, 144 held out"));
    // Products of such weights are beyond float32.
    assert!(error(json!({"optim": "sgd", "learning_rate": 1e38})).contains("Lower `learning_rate`"));
    fs::remove_file(space.path("in/poem.txt")).unwrap();
    assert!(error(json!({})).contains("has 0 `.txt` files"));

    let fields = |changes: Value| -> Vec<String> {
        let problems = DynKind::check(&TrainCharacterModel, parameters(&changes).as_object().unwrap(), &[]);
        problems.into_iter().map(|problem| problem.field).collect()
    };
    assert!(fields(json!({})).is_empty());
    assert_eq!(fields(json!({"eval_steps": 0, "n_head": 3, "dropout": 1.0})), ["eval_steps", "n_head", "dropout"]);
    assert_eq!(fields(json!({"optim": "sgd", "optim_args": {"rho": 0.9}})), ["optim_args.rho"]);
}

#[test]
fn the_play_is_a_text_that_training_reads() {
    let folder = tempfile::tempdir().unwrap();
    let folders =
        Folders { outputs: [("dataset".to_string(), folder.path().to_path_buf())].into(), ..Folders::default() };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    let (mut report, cancelled) = (|_| (), || false);
    let mut context = Context::new(folders, 0, device, &mut report, &cancelled);
    Kind::run(&Play, serde_json::from_value(json!({})).unwrap(), &mut context).unwrap();
    let bytes = fs::read(folder.path().join("as_you_like_it.txt")).unwrap();
    let digest = "080d54afa58993f033969b80f4e09ccced026e60f11ea0e4353c5d8e3ea1f33c";
    assert_eq!(blake3::hash(&bytes).to_string(), digest);
    let text = text::read(folder.path()).unwrap();
    assert_eq!((text.name.as_str(), text.characters), ("as_you_like_it", 68));
    assert_eq!((text.train().len(), text.validation().len()), (112_661, 12_518));
}
