#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gazal_stage_api::{Backend, DeviceRequest, Folders, Precision};
use serde_json::json;

use super::training::{Curve, Ended};
use super::*;

struct Told {
    runs: Vec<Ended>,
    curves: Vec<Curve>,
}

fn run(params: serde_json::Value) -> Told {
    run_in(tempfile::tempdir().unwrap().path(), params, &|| false).unwrap()
}

/// In a folder that an attempt before may have used.
fn run_in(folder: &Path, params: serde_json::Value, cancelled: &dyn Fn() -> bool) -> Result<Told, StageError> {
    let params: Params = serde_json::from_value(params).unwrap();
    assert!(Symmetry.validate(&params).is_empty(), "{:?}", Symmetry.validate(&params));
    let place = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        (name.to_string(), path)
    };
    let outputs: BTreeMap<String, PathBuf> = ["runs", "curves"].map(place).into();
    let folders = Folders { outputs: outputs.clone(), wip: place("wip").1, ..Folders::default() };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    Symmetry.run(params, &mut Context::new(folders, 0, device, &mut |_| (), cancelled))?;
    let file = |name: &str| outputs[name].join("train.jsonl");
    Ok(Told {
        runs: gazal_data::jsonl::read_all(&file("runs")).unwrap(),
        curves: gazal_data::jsonl::read_all(&file("curves")).unwrap(),
    })
}

impl Told {
    fn curves(&self, family: Family) -> Vec<(Vec<usize>, Vec<f64>, Vec<f64>)> {
        let own = self.curves.iter().filter(|curve| curve.family == family).cloned();
        own.map(|curve| (curve.epochs, curve.val_loss, curve.val_accuracy)).collect()
    }

    fn best(&self, family: Family) -> f64 {
        let own: Vec<f64> =
            self.runs.iter().filter(|one| one.run.family == family).map(|one| one.run.best_val_accuracy).collect();
        own.iter().sum::<f64>() / own.len() as f64
    }
}

/// Averaging over rotations in evaluation too makes the augmented arm the equivariant one: to the bit.
#[test]
fn augmentation_that_is_averaged_in_evaluation_is_equivariance() {
    let told = run(json!({
        "groups": [3], "samples": [100], "seeds": [0, 1], "num_train_epochs": 30,
        "families": ["equivariant", "augmented_tta", "augmented", "wrong_group", "vanilla"],
    }));
    let equivariant = told.curves(Family::Equivariant);
    assert_eq!((equivariant.len(), &equivariant[0].0), (2, &vec![1, 6, 11, 16, 21, 26, 30]));
    assert_eq!(told.curves(Family::AugmentedTta), equivariant);
    assert_ne!(told.curves(Family::Augmented), equivariant);
    assert_ne!(told.curves(Family::WrongGroup), equivariant);
    assert_ne!(equivariant[0], equivariant[1], "seeds are different data and weights");
    assert_eq!(told.runs.len(), 10);
    assert!(told.runs.iter().all(|one| one.epochs == 30 && one.data.len() == 16), "{:?}", told.runs);
}

/// What a network learns does not depend on who is trained beside it, nor on who has left.
#[test]
fn networks_do_not_depend_on_their_neighbours() {
    let params = |families: &[&str], seeds: &[u64]| json!({ "groups": [2], "samples": [200], "families": families, "seeds": seeds, "num_train_epochs": 60, "patience": 2 });
    let all = run(params(&["equivariant", "wrong_group"], &[0, 1, 2]));
    let alone = run(params(&["equivariant"], &[1]));
    assert_eq!(all.curves(Family::Equivariant)[1], alone.curves(Family::Equivariant)[0]);
    let epochs: Vec<usize> = all.runs.iter().map(|one| one.epochs).collect();
    assert!(epochs.iter().any(|&epochs| epochs < 60), "nobody held the target: {epochs:?}");
}

/// What is done stays, a draft that a kill left is not taken for it, and the rest is as it would have been.
#[test]
fn a_stage_that_was_stopped_goes_on() {
    let params = json!({
        "groups": [2], "samples": [50, 100], "seeds": [0], "families": ["equivariant"], "num_train_epochs": 10,
    });
    let folder = tempfile::tempdir().unwrap();
    let asked = Cell::new(0);
    let stopped = run_in(folder.path(), params.clone(), &|| {
        asked.set(asked.get() + 1);
        asked.get() > 15
    });
    assert!(matches!(stopped, Err(StageError::Cancelled)));
    let wip = folder.path().join("wip");
    let done: Vec<_> = std::fs::read_dir(&wip).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(done, ["2-0-50.jsonl"]);
    std::fs::write(wip.join("2-0-100.tmp"), "{").unwrap();
    let whole = run(params.clone());
    let (resumed, told) = (run_in(folder.path(), params, &|| false).unwrap(), |told: &Told| json!(told.runs));
    assert_eq!((&resumed.curves, told(&resumed)), (&whole.curves, told(&whole)));
}

#[test]
fn symmetry_is_worth_data() {
    let told = run(json!({
        "groups": [4], "samples": [100], "seeds": [0, 1, 2], "num_train_epochs": 200,
        "families": ["equivariant", "vanilla", "regularized"],
    }));
    let [equivariant, vanilla] = [Family::Equivariant, Family::Vanilla].map(|family| told.best(family));
    assert!(equivariant > vanilla + 0.05, "{equivariant} {vanilla}");
    assert_ne!(told.curves(Family::Vanilla), told.curves(Family::Regularized), "weight decay does nothing");
}

#[test]
fn mistakes_are_found() {
    let params: Params = serde_json::from_value(json!({
        "groups": [0], "samples": [], "seeds": [1, 1], "families": ["vanilla", "vanilla"], "noise": [2.0],
    }))
    .unwrap();
    let fields: Vec<String> = Symmetry.validate(&params).into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["groups", "samples", "noise", "families", "seeds"]);
}
