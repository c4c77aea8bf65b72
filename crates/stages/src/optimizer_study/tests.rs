//! The whole stage over small histories and samples.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use gazal_stage_api::{Backend, DeviceRequest, DynKind, Folders, Precision};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::page;

/// A training of four epochs: its training accuracy in the last, and how many of ten images it tells right.
struct Trained {
    label: &'static str,
    optim: &'static str,
    group: &'static str,
    accuracy: f64,
    right: usize,
}

fn trained() -> Vec<Trained> {
    let of = |label, optim, numbers: [(f64, usize); 3]| {
        let groups = ["1", "2", "3"].into_iter().zip(numbers);
        groups.map(move |(group, (accuracy, right))| Trained { label, optim, group, accuracy, right })
    };
    let adam = of("adam", "adam", [(0.80, 6), (0.81, 7), (0.79, 6)]);
    let exadam = of("exadam", "exadam", [(0.90, 8), (0.92, 9), (0.89, 8)]);
    adam.chain(exadam).chain(of("adam, twice the rate", "adam", [(0.90, 8), (0.91, 9), (0.90, 8)])).collect()
}

fn history(one: &Trained) -> Value {
    let entry = |epoch: usize| {
        let accuracy = one.accuracy * epoch as f64 / 4.0;
        json!({"step": epoch, "epoch": epoch, "loss": 2.0 - accuracy, "accuracy": accuracy, "eval_accuracy": accuracy - 0.1})
    };
    let stamp = json!({"label": one.label, "group": one.group, "optim": one.optim, "learning_rate": 0.001});
    json!({"log_history": (1..=4).map(entry).collect::<Vec<_>>(), "stateful_callbacks": {"classifier": stamp}})
}

fn samples(one: &Trained) -> String {
    let sample = |image: usize| {
        json!({"id": image.to_string(), "benchmark": "digits", "cluster": image.to_string(), "protocol": "loglikelihood",
            "label": one.label, "group": one.group, "target": 0, "answer": 0, "correct": image < one.right})
    };
    (0..10).map(|image| format!("{}\n", sample(image))).collect()
}

struct Space(TempDir);

impl Space {
    fn new(trained: &[Trained]) -> Space {
        let space = Space(tempfile::tempdir().unwrap());
        for (index, one) in trained.iter().enumerate() {
            for name in ["history", "samples"] {
                fs::create_dir_all(space.path(name, index)).unwrap();
            }
            fs::write(space.path("history", index).join(raw::FILE), history(one).to_string()).unwrap();
            fs::write(space.path("samples", index).join("samples.jsonl"), samples(one)).unwrap();
        }
        fs::create_dir_all(space.0.path().join("out")).unwrap();
        space
    }

    fn path(&self, name: &str, index: usize) -> PathBuf {
        self.0.path().join(format!("{name}-{index}"))
    }

    fn run(&self, params: Value, histories: &[usize], tested: &[usize]) -> Result<Value, String> {
        let paths = |name: &str, of: &[usize]| of.iter().map(|&index| self.path(name, index)).collect::<Vec<_>>();
        let inputs = [("histories", paths("history", histories)), ("samples", paths("samples", tested))];
        let out = self.0.path().join("out");
        let folders = Folders {
            inputs: inputs.map(|(name, paths)| (name.to_string(), paths)).into(),
            outputs: [("report".to_string(), out.clone())].into(),
            ..Folders::default()
        };
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let (mut report, cancelled) = (|_| (), || false);
        let mut context = Context::new(folders, 0, device, &mut report, &cancelled);
        let params: Params = serde_json::from_value(params).unwrap();
        assert!(OptimizerStudy.validate(&params).is_empty());
        Kind::run(&OptimizerStudy, params, &mut context).map_err(|error| error.to_string())?;
        Ok(serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap())
    }

    fn all(&self, params: Value) -> Value {
        self.run(params, &[0, 1, 2, 3, 4, 5, 6, 7, 8], &[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap()
    }
}

fn comparisons() -> Value {
    json!({"comparisons": [
        {"title": "Equal rates", "baseline": "adam", "labels": ["exadam"]},
        {"title": "Equal steps", "baseline": "adam, twice the rate", "labels": ["exadam"]},
    ]})
}

fn near(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn gains_are_paired_by_seed_and_have_student_s_intervals() {
    let report = Space::new(&trained()).all(comparisons());
    let row = &report["comparisons"][0]["rows"][0];
    let training = &row["gains"][2];
    // Gains of 10, 11 and 10 points: mean 31/3, error 1/3, t with 2 degrees of freedom 4.302653.
    near(&training["mean"], 31.0 / 3.0);
    near(&training["interval"]["low"], 31.0 / 3.0 - 4.302_652_73 / 3.0);
    assert_eq!((&training["seeds"], &training["verdict"]), (&json!([3, 3]), &json!("better")));
    near(&row["gains"][5]["mean"], 20.0);
    near(&row["images"]["interval"]["mean"], 0.2);
    // 80% are reached by the last epoch of two of Adam's seeds, and by the fourth of all of EXAdam's.
    assert_eq!((&row["gains"][1]["seeds"], &row["gains"][1]["mean"]), (&json!([2, 3]), &json!(0.0)));
    let equal_steps = &report["comparisons"][1]["rows"][0]["gains"][2];
    assert_eq!(equal_steps["verdict"], "within_noise", "gains of 0, 1 and −1 points");
}

#[test]
fn this_run_stands_beside_the_published_numbers() {
    let report = Space::new(&trained()).all(comparisons());
    let (published, beside) = (report["published"].as_array().unwrap(), report["beside"].as_array().unwrap());
    assert_eq!((published.len(), beside.len()), (12, 12));
    let of = |version: &str, measure: &str| {
        let at = published.iter().position(|one| one["version"] == version && one["measure"] == measure).unwrap();
        &beside[at]
    };
    near(&of("v2", "train_accuracy")[0]["mean"], 31.0 / 3.0);
    assert!(of("v2", "train_accuracy")[1].is_null(), "there is no AdamW here");
    assert_eq!(of("v1", "train_accuracy"), &json!([null, null]), "nor EXAdam's first version");
    let alone = Space::new(&trained()).all(json!({}));
    assert_eq!(alone["comparisons"][0]["rows"].as_array().unwrap().len(), 2, "all beside the first");
}

#[test]
fn the_page_has_all_tables_and_its_pictures_are_files() {
    let space = Space::new(&trained());
    let report = space.all(comparisons());
    let page = fs::read_to_string(space.0.path().join("out/report.html")).unwrap();
    for text in
        ["Equal rates", "adam, twice the rate", "48.07", "from AdamW, not Adam", "▲ above zero", "[47.72, 48.45]"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("NaN") && page.ends_with(page::CLOSING));
    let curves = ["published_curves", "curves"].map(|name| report[name].as_array().unwrap().clone()).concat();
    assert_eq!(curves.len(), 2 + 2 * 2);
    for curve in &curves {
        let file = fs::read_to_string(space.0.path().join("out").join(curve["file"].as_str().unwrap())).unwrap();
        assert!(file.starts_with("<svg ") && file.contains(">epoch</text>"));
    }
    let first = &report["curves"][0]["lines"][1];
    assert_eq!(first["name"], "exadam");
    near(&first["points"][3][1], (0.90 + 0.92 + 0.89) / 3.0);
}

#[test]
fn what_does_not_fit_together_is_said() {
    let space = Space::new(&trained());
    let error =
        |params: Value, histories: &[usize], tested: &[usize]| space.run(params, histories, tested).unwrap_err();
    assert!(error(json!({}), &[0, 3], &[0]).contains("a history of `exadam`, group `1`, and no sample"));
    assert!(error(json!({}), &[0], &[0, 3]).contains("samples of `exadam`, group `1`, and no history"));
    assert!(error(json!({}), &[0, 0], &[0]).contains("no sample of it"));
    assert!(error(comparisons(), &[0, 3], &[0, 3]).contains("`adam, twice the rate` is no label"));
    assert!(error(json!({}), &[0, 4], &[0, 4]).contains("no group (seed) in common"));
    let fields = |params: Value| -> Vec<String> {
        let problems = DynKind::check(&OptimizerStudy, params.as_object().unwrap());
        problems.into_iter().map(|problem| problem.field).collect()
    };
    let itself = json!([{"title": "t", "baseline": "adam", "labels": ["adam"]}]);
    assert_eq!(
        fields(json!({"accuracy_target": 0, "comparisons": itself})),
        ["accuracy_target", "comparisons[0].labels"]
    );
}
