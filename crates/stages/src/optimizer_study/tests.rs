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
            space.write(index, &history(one));
            fs::create_dir_all(space.path("samples", index)).unwrap();
            fs::write(space.path("samples", index).join("samples.jsonl"), samples(one)).unwrap();
        }
        fs::create_dir_all(space.0.path().join("out")).unwrap();
        space
    }

    fn write(&self, index: usize, history: &Value) {
        fs::create_dir_all(self.path("history", index)).unwrap();
        fs::write(self.path("history", index).join(raw::FILE), history.to_string()).unwrap();
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
        let problems = DynKind::check(&OptimizerStudy, params.as_object().unwrap(), &[]);
        problems.into_iter().map(|problem| problem.field).collect()
    };
    let itself = json!([{"title": "t", "baseline": "adam", "labels": ["adam"]}]);
    assert_eq!(
        fields(json!({"accuracy_target": 0, "comparisons": itself})),
        ["accuracy_target", "comparisons[0].labels"]
    );
}

/// A training of text by its evaluations after 50, 100, 150 and 200 steps, all of them moved.
fn of_text(label: &str, optim: &str, group: &str, (train, held_out, moved): ([f64; 4], [f64; 4], f64)) -> Value {
    let entry = |at: usize| {
        let (train, held_out) = (train[at] + moved, held_out[at] + moved);
        json!({"step": 50 * (at + 1), "loss": 3.0, "eval_train_loss": train, "eval_loss": held_out})
    };
    let stamp = json!({"label": label, "group": group, "optim": optim, "learning_rate": 0.001});
    json!({"log_history": (0..4).map(entry).collect::<Vec<_>>(), "stateful_callbacks": {"character_model": stamp}})
}

/// Two labels of three groups each; EXAdam's held-out loss rises at the end.
fn texts() -> Space {
    let space = Space::new(&[]);
    let (adam, exadam) = ([2.4, 2.1, 1.9, 1.6], [2.0, 1.5, 1.0, 0.5]);
    let (adam_held_out, exadam_held_out) = ([2.5, 2.25, 2.0, 1.75], [2.25, 1.75, 1.5, 2.0]);
    for (index, (group, moved)) in [("1", [0.0, 0.0]), ("2", [0.02, 0.03]), ("3", [-0.01, -0.01])].iter().enumerate() {
        space.write(index, &of_text("adam", "adam", group, (adam, adam_held_out, moved[0])));
        space.write(3 + index, &of_text("exadam", "exadam", group, (exadam, exadam_held_out, moved[1])));
    }
    space
}

#[test]
fn text_is_compared_by_its_last_and_its_lowest_losses() {
    let report = texts().run(json!({"title": "Text"}), &[0, 1, 2, 3, 4, 5], &[]).unwrap();
    let row = &report["comparisons"][0]["rows"][0];
    let mean = |at: usize| &row["gains"][at]["mean"];
    near(mean(0), (1.1 + 1.09 + 1.1) / 3.0);
    near(mean(1), -(0.25 + 0.26 + 0.25) / 3.0);
    near(mean(2), (0.25 + 0.24 + 0.25) / 3.0);
    // Adam's lowest loss after 200 steps is reached after 100, 150 and 100.
    near(mean(3), (50.0 + 25.0 + 50.0) / 3.0);
    assert_eq!((&row["gains"][1]["verdict"], &row["gains"][2]["verdict"]), (&json!("worse"), &json!("better")));
    near(&row["gains"][2]["interval"]["low"], 0.74 / 3.0 - 4.302_652_73 / 300.0);
    assert!(row.get("images").is_none(), "{row}");
    let lowest = |label: usize| &report["labels"][label]["means"][3]["mean"];
    assert_eq!((lowest(0), lowest(1)), (&json!(200.0), &json!(150.0)));
    // The notebooks' gains, and this run's beside those of the second version alone.
    let (gains, beside) = (&report["published_gains"], report["beside"].as_array().unwrap());
    near(&gains[5]["gain"], 1.505 - 1.571);
    assert_eq!((beside.len(), &beside[3]), (8, &Value::Null));
    near(&beside[5]["mean"], -0.76 / 3.0);
    assert_eq!((report["published"].as_array().unwrap().len(), &report["steps"]), (14, &json!(200.0)));
}

#[test]
fn the_page_of_text_has_its_tables_and_pictures() {
    let space = texts();
    let report = space.run(json!({"title": "Text"}), &[0, 1, 2, 3, 4, 5], &[]).unwrap();
    let page = fs::read_to_string(space.0.path().join("out/report.html")).unwrap();
    for text in ["nats a character", "14,335,553", "number 6 by the last", "▼ below zero", "AdEMAMix", "-0.253"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("NaN") && !page.contains("images") && page.ends_with(page::CLOSING));
    let curves = ["published_curves", "curves"].map(|name| report[name].as_array().unwrap().clone()).concat();
    assert_eq!(curves.len(), 2 * 2 + 2);
    for curve in &curves {
        let file = fs::read_to_string(space.0.path().join("out").join(curve["file"].as_str().unwrap())).unwrap();
        assert!(file.contains(">step</text>"));
    }
    let last = &report["curves"][1]["lines"][1]["points"][3];
    near(&last[0], 200.0);
    near(&last[1], 2.0 + 0.02 / 3.0);
}

#[test]
fn one_report_is_of_one_sort() {
    let space = Space::new(&trained()[..1]);
    space.write(1, &of_text("adam", "adam", "1", ([2.0; 4], [2.0; 4], 0.0)));
    let error = |histories: &[usize], tested: &[usize]| space.run(json!({}), histories, tested).unwrap_err();
    assert!(error(&[0, 1], &[0]).contains("histories of images and of text"));
    assert!(error(&[1], &[0]).contains("samples of `adam`, group `1`, and no history"));
    space.write(1, &json!({"log_history": [], "stateful_callbacks": {}}));
    assert!(error(&[1], &[]).contains("it does not say which of the two it is of"));
    space.write(
        1,
        &json!({"log_history": [{"loss": 1.0}], "stateful_callbacks": {"character_model":
        {"label": "a", "group": "1", "optim": "adam", "learning_rate": 0.001}}}),
    );
    assert!(error(&[1], &[]).contains("missing field `step`; connect histories of `train-classifier`"));
}
