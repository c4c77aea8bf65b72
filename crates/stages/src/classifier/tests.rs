//! The network against PyTorch's, and whole trainings on small images of bars.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gazal_data::Stream;
use gazal_lm::weights::to_host;
use gazal_stage_api::{Backend, Context, DeviceRequest, DynKind, Folders, Kind, StageError};
use gazal_train::{Optimizer, Schedule};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::model::Batch;
use super::*;

const SHAPE: ([usize; 3], usize) = ([1, 8, 8], 10);

fn network() -> Network {
    let cpu = gazal_lm::device::open("cpu", None).unwrap();
    let number = |name: &str, index: u64| ((index * 37 + name.len() as u64 * 11) % 101) as f64 / 101.0;
    Network::new(Architecture::SmallCnn, SHAPE, &cpu, number)
}

fn six() -> Batch {
    let pixel = |index: usize| ((index * 29) % 17) as f32 / 16.0 * 2.0 - 1.0;
    Batch { pixels: (0..6 * 64).map(pixel).collect(), labels: vec![0, 3, 9, 1, 3, 7] }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} is not {expected}");
}

fn begins(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    expected.iter().zip(found).for_each(|(expected, found)| close(f64::from(*found), *expected, tolerance, what));
}

/// The norm of a gradient and its first three numbers, of PyTorch 2.15 on the same weights, images and masks.
const GRADIENTS: [(&str, f64, [f64; 3]); 9] = [
    ("conv1.weight", 0.77262974, [0.077420376, 0.07782688, 0.13118064]),
    ("bn1.weight", 0.12296355, [-0.010538057, 0.011040384, -0.019707549]),
    ("bn3.bias", 0.10763345, [0.00041279895, -0.0115761, 0.037389837]),
    ("res_block1.conv2.weight", 1.33707798, [0.018508304, 0.046442665, -0.030419827]),
    ("res_block2.bn1.weight", 0.08505181, [0.0264764, -0.032259233, -0.0029020109]),
    ("conv3.weight", 3.07360363, [-0.042974334, -0.00059891201, 0.065006234]),
    ("fc1.weight", 2.47948909, [-0.015270396, 0.04981333, -0.02891914]),
    ("fc2.weight", 1.119349, [0.0092341909, 0.012473653, 0.027145116]),
    ("fc2.bias", 0.35222852, [-0.073058143, -0.074898213, 0.11056043]),
];

#[test]
fn a_step_of_the_network_is_pytorch_s() {
    let (mut network, batch) = (network(), six());
    let dropout = Stream::new(5, "dropout");
    let (scored, gradients) = network.learn(&batch, |layer| dropout.quick(2, layer));
    close(scored.loss, 14.0696497, 1e-3, "loss");
    assert_eq!(scored.correct, 1);
    for (name, norm, first) in GRADIENTS {
        let found = to_host(gradients.get(name).unwrap().clone());
        let length = found.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        close(length, norm, 1e-3 * norm, name);
        begins(&found, &first, 1e-3 * norm, name);
    }
    close(gradients.global_norm(), 5.87673855, 5e-3, "all gradients");

    let config = OptimConfig { kind: OptimKind::Sgd, ..OptimConfig::default() };
    Optimizer::new(config).step_vectors(network.vectors(), &gradients, 0.1);
    let named: BTreeMap<String, Vec<f32>> =
        network.named().into_iter().map(|(name, _, values)| (name, values)).collect();
    begins(&named["bn1.running_mean"], &[-0.027098158, -0.0031052318, 0.021256618], 1e-5, "running mean");
    begins(&named["bn1.running_var"], &[0.90306866, 0.91223168, 0.91208541], 1e-5, "running variance");
    begins(&named["res_block2.bn2.running_var"], &[0.90441823, 0.90707082, 0.9055357], 1e-5, "running variance");
    let likelihoods = network.evaluate(&batch);
    let first =
        [-2.201244, -2.366927, -2.319673, -2.110363, -2.362709, -2.247037, -2.530625, -2.343651, -2.174367, -2.442722];
    begins(&likelihoods, &first, 1e-3, "log-likelihoods after the step");
    close(model::score(&likelihoods, 10, &batch.labels).loss, 13.5944414, 5e-3, "loss after the step");
}

#[test]
fn a_saved_network_is_the_same_network() {
    let (network, mut other) = (network(), Network::new(Architecture::SmallCnn, SHAPE, &Device::flex(), |_, _| 0.25));
    assert_ne!(network.evaluate(&six()), other.evaluate(&six()));
    let mut saved: BTreeMap<String, Vec<f32>> =
        network.named().into_iter().map(|(name, _, values)| (name, values)).collect();
    other.restore(&saved).unwrap();
    assert_eq!(network.evaluate(&six()), other.evaluate(&six()));
    saved.get_mut("bn1.running_var").unwrap().pop();
    assert_eq!(other.restore(&saved), Err("bn1.running_var".to_string()));
}

/// Eight classes, in each of which another column is bright: 96 images to train on, 24 to test on.
fn bars(folder: &Path) {
    let record = |index: usize| {
        let class = index % 8;
        let pixel = |place: usize| if place % 8 == class { 12 + (index * 7 + place) % 5 } else { (index + place) % 4 };
        std::iter::once(class).chain((0..64).map(pixel)).map(|byte| u8::try_from(byte).unwrap()).collect::<Vec<u8>>()
    };
    let records = |from: usize, to: usize| (from..to).flat_map(record).collect::<Vec<u8>>();
    fs::write(folder.join("data_batch_1.bin"), records(0, 48)).unwrap();
    fs::write(folder.join("data_batch_2.bin"), records(48, 96)).unwrap();
    fs::write(folder.join("test_batch.bin"), records(96, 120)).unwrap();
    let description = json!({"name": "bars", "channels": 1, "height": 8, "width": 8, "classes": 8, "highest": 16});
    fs::write(folder.join("images.json"), description.to_string()).unwrap();
}

fn parameters(changes: &Value) -> Value {
    let mut parameters = json!({
        "label": "exadam", "group": "seed 1", "num_train_epochs": 6, "learning_rate": 0.003, "validation_size": 16,
        "per_device_train_batch_size": 16, "lr_scheduler_type": "constant", "accuracy_targets": [0.2, 1.0],
        "augmentation": [{"step": "affine", "degrees": 5, "translate": 0.1, "scale": [0.9, 1.1]}],
        "validation_transform": "augmented"
    });
    parameters.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    parameters
}

struct Space(TempDir);

impl Space {
    fn new() -> Space {
        let space = Space(tempfile::tempdir().unwrap());
        fs::create_dir(space.path("in")).unwrap();
        bars(&space.path("in"));
        space
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the stage, which is asked to stop the `stops`th time it asks.
    fn run(&self, changes: &Value, stops: usize) -> Result<BTreeMap<String, Vec<u8>>, StageError> {
        let params: Params = serde_json::from_value(parameters(changes)).unwrap();
        let outputs = ["metrics", "samples", "history"].map(|name| (name.to_string(), self.path(name)));
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
        Kind::run(&TrainClassifier, params, &mut context)?;
        let files = outputs.iter().flat_map(|(_, folder)| fs::read_dir(folder).unwrap());
        let file = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        Ok(files.map(|entry| file(entry.unwrap().path())).collect())
    }

    fn outcome(&self, changes: &Value) -> BTreeMap<String, Vec<u8>> {
        let _ = fs::remove_dir_all(self.path("wip"));
        self.run(changes, 0).unwrap()
    }
}

fn read(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

#[test]
fn a_training_learns_and_tells_what_it_learnt() {
    let files = Space::new().outcome(&json!({"num_train_epochs": 20, "augmentation": []}));
    let metrics = read(&files, "metrics.json")["bars"].clone();
    assert!(metrics["acc"].as_f64().unwrap() > 0.5, "{metrics}: guessing has 0.125");
    assert!(metrics["epochs_to_0.2"].as_f64().unwrap() <= 20.0 && metrics["epochs"] == 20.0, "{metrics}");
    let history = read(&files, "trainer_state.json");
    let log = history["log_history"].as_array().unwrap();
    assert_eq!((log.len(), log[0]["step"].as_u64(), log[19]["step"].as_u64()), (20, Some(5), Some(100)));
    assert_eq!((&log[19]["accuracy"], &log[19]["eval_loss"]), (&metrics["train_accuracy"], &metrics["eval_loss"]));
    let stamp = &history["stateful_callbacks"]["classifier"];
    assert_eq!(
        (&stamp["label"], &stamp["group"], &stamp["optim"]),
        (&json!("exadam"), &json!("seed 1"), &json!("exadam"))
    );
    let text = String::from_utf8(files["samples.jsonl"].clone()).unwrap();
    let samples: Vec<Sample> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let correct = samples.iter().filter(|sample| sample.correct).count() as f64;
    assert_eq!((samples.len(), samples[3].id.as_str(), samples[3].target), (24, "3", 3));
    assert_eq!(metrics["acc"].as_f64().unwrap(), correct / 24.0);
    let sum: f64 = samples[0].resps.iter().map(|value| value.exp()).sum();
    close(sum, 1.0, 1e-5, "probabilities");
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bytes() {
    for optim in ["exadam", "sgd", "adadelta"] {
        let changes = json!({"optim": optim, "lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 1}});
        let space = Space::new();
        let undisturbed = space.outcome(&changes);
        let _ = fs::remove_dir_all(space.path("wip"));
        for stops in [7, 6] {
            assert!(matches!(space.run(&changes, stops), Err(StageError::Cancelled)), "{optim}");
        }
        assert!(space.path("wip/checkpoint-13").exists(), "in the middle of an epoch");
        assert!(space.run(&changes, 0).unwrap() == undisturbed, "{optim}");
    }
}

/// What is shared by two trainings is what their seeds share.
#[test]
fn initial_weights_have_a_seed_of_their_own() {
    let space = Space::new();
    let first = |changes: Value| {
        let mut changes = changes;
        changes.as_object_mut().unwrap().insert("num_train_epochs".into(), json!(1));
        read(&space.outcome(&changes), "trainer_state.json")["log_history"][0]["loss"].clone()
    };
    let own = first(json!({}));
    assert_eq!(own, first(json!({"init_seed": 1})), "the stage's seed is 1");
    assert_ne!(own, first(json!({"init_seed": 2})));
    assert_ne!(own, first(json!({"augmentation": []})));
    // The weights move only after the first batch, and a rate of nearly nothing moves none.
    let still = |optim: &str| first(json!({"optim": optim, "learning_rate": 1e-12}));
    close(still("adam").as_f64().unwrap(), still("sgd").as_f64().unwrap(), 1e-5, "same weights, same batches");
}

#[test]
fn the_rate_falls_on_a_plateau_of_the_held_out_loss() {
    let kwargs = json!({"factor": 0.1, "patience": 1});
    let changes = json!({"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": kwargs, "learning_rate": 1e-9,
        "optim": "sgd", "augmentation": [], "num_train_epochs": 8});
    let history = read(&Space::new().outcome(&changes), "trainer_state.json");
    let log = history["log_history"].as_array().unwrap();
    // The loss is that of running statistics which come near those of the batches, or stays: what decides is the rule.
    let (mut rate, mut best, mut waited) = (1e-9, f64::INFINITY, 0);
    for entry in log {
        close(entry["learning_rate"].as_f64().unwrap(), rate, 1e-15, "learning rate");
        let loss = entry["eval_loss"].as_f64().unwrap();
        (best, waited) = if loss < best * (1.0 - 1e-4) { (loss, 0) } else { (best, waited + 1) };
        if waited > 1 {
            (rate, waited) = (rate * 0.1, 0);
        }
    }
}

#[test]
fn decay_is_of_every_parameter() {
    let params: Params = serde_json::from_value(parameters(&json!({"weight_decay": 0.01, "optim": "adamw"}))).unwrap();
    let settings = params.settings(80);
    assert!(settings.optim.decays_vectors && settings.optim.weight_decay == 0.01);
    let Schedule { total_steps, .. } = settings.schedule;
    assert_eq!((total_steps, params.settings(81).schedule.total_steps), (30, 36), "the last batch may be smaller");
}

#[test]
fn splits_hold_out_what_the_seed_draws() {
    let folder = tempfile::tempdir().unwrap();
    bars(folder.path());
    let (images, test) = images::read(folder.path()).unwrap();
    assert_eq!((images.len(), test.len(), images.label(50)), (96, 24, 2));
    let split = |seed| Split::new(&images, 16, seed);
    let (first, second) = (split(1), split(2));
    assert_eq!((first.train.len(), first.validation.len()), (80, 16));
    assert_ne!(first.validation, second.validation);
    let mut all = [first.train, first.validation].concat();
    all.sort_unstable();
    assert_eq!(all, (0..96).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_read_or_trained_is_said() {
    let space = Space::new();
    let error = |changes: Value| space.run(&changes, 0).unwrap_err().to_string();
    assert!(error(json!({"validation_size": 96})).contains("nothing is left to train on"));
    fs::write(space.path("in/data_batch_2.bin"), [0_u8; 64]).unwrap();
    assert!(error(json!({})).contains("data_batch_2.bin: has 64 bytes, which are not records of 65"));
    fs::write(space.path("in/data_batch_2.bin"), [vec![8_u8], vec![0; 64]].concat()).unwrap();
    assert!(error(json!({})).contains("record 1 has class 8"));
    fs::remove_file(space.path("in/images.json")).unwrap();
    assert!(error(json!({})).contains("not records of 3073"), "CIFAR-10's without a description");
    for batch in ["data_batch_1.bin", "data_batch_2.bin"] {
        fs::remove_file(space.path("in").join(batch)).unwrap();
    }
    assert!(error(json!({})).contains("there is no `data_batch_*.bin`"));

    let fields = |changes: Value| -> Vec<String> {
        let problems = DynKind::check(&TrainClassifier, parameters(&changes).as_object().unwrap(), &[]);
        problems.into_iter().map(|problem| problem.field).collect()
    };
    assert!(fields(json!({})).is_empty());
    assert_eq!(
        fields(json!({"validation_size": 0, "accuracy_targets": [1.5]})),
        ["validation_size", "accuracy_targets"]
    );
    assert_eq!(fields(json!({"optim": "sgd", "optim_args": {"rho": 0.9}})), ["optim_args.rho"]);
    assert_eq!(fields(json!({"augmentation": [{"step": "horizontal_flip", "p": 2}]})), ["augmentation[0].p"]);
}

#[test]
fn the_digits_are_files_that_training_reads() {
    let folder = tempfile::tempdir().unwrap();
    let folders =
        Folders { outputs: [("dataset".to_string(), folder.path().to_path_buf())].into(), ..Folders::default() };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    let (mut report, cancelled) = (|_| (), || false);
    let mut context = Context::new(folders, 0, device, &mut report, &cancelled);
    Kind::run(&Digits, serde_json::from_value(json!({})).unwrap(), &mut context).unwrap();
    let digest = |name: &str| blake3::hash(&fs::read(folder.path().join(name)).unwrap()).to_string();
    assert_eq!(digest("data_batch_1.bin"), "ae00747c189f9a9a0ec5df5eacfe0aa7aa5479fbdfb90601b23e2cba077e42de");
    assert_eq!(digest("test_batch.bin"), "9cfbf0e5a2e1e6fab864977ad8bfc59cafe6ca06a00339e5bd2717bee119db4b");
    let (train, test) = images::read(folder.path()).unwrap();
    assert_eq!((train.len(), test.len(), train.description.name.as_str()), (1437, 360, "digits"));
    assert_eq!((train.label(0), &train.pixels(0)[..5]), (0, &[0, 0, 5, 13, 9][..]));
}
