//! Whole stages over small files of every form.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gazal_stage_api::{Backend, Context, DeviceRequest, DynKind, Folders, Kind, Precision};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Curate, Params};

struct Space(TempDir);

impl Space {
    fn new(files: &[(&str, String)]) -> Space {
        let space = Space(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = space.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        space
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the kind on the data sets `a` and `b`, and gives the rows of each part, and the report.
    fn run(&self, params: Value) -> Result<(BTreeMap<String, Vec<Value>>, Value), String> {
        let params: Params = serde_json::from_value(params).unwrap();
        assert!(Curate.validate(&params).is_empty(), "{:?}", Curate.validate(&params));
        let outputs = ["dataset", "report", "wip"].map(|name| (name.to_string(), self.path(name)));
        for (_, path) in &outputs {
            let _ = fs::remove_dir_all(path);
            fs::create_dir(path).unwrap();
        }
        let there = |name: &str| Some(self.path(name)).filter(|path| path.exists());
        let folders = Folders {
            inputs: [
                ("rows".to_string(), ["a", "b"].into_iter().filter_map(there).collect()),
                ("benchmarks".to_string(), there("benchmarks").into_iter().collect()),
            ]
            .into(),
            outputs: outputs.into(),
            wip: self.path("wip"),
            ..Folders::default()
        };
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let (mut report, cancelled) = (|_| (), || false);
        let mut context = Context::new(folders, 7, device, &mut report, &cancelled);
        Kind::run(&Curate, params, &mut context).map_err(|error| error.to_string())?;
        let part = |path: PathBuf| {
            let rows = gazal_data::rows::read_all(&path).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), rows)
        };
        let parts = fs::read_dir(self.path("dataset")).unwrap().map(|entry| part(entry.unwrap().path())).collect();
        Ok((parts, read(&self.path("report/curation.json"))))
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| format!("{row}\n")).collect()
}

fn answer(text: &str) -> Value {
    json!({ "prompt": "what?", "completion": text })
}

/// What is written in any form is read back as the same rows; CSV has texts only.
#[test]
fn rows_are_written_in_the_form_that_is_asked_for() {
    let rows = [
        json!({ "prompt": "a,\n\"b\"", "scores": { "steps": 3 } }),
        json!({ "prompt": "c", "scores": { "steps": 4 } }),
    ];
    let space = Space::new(&[("a/train.jsonl", lines(rows.clone()))]);
    for (format, file) in [("jsonl", "train.jsonl"), ("parquet", "train.parquet")] {
        let (parts, _) = space.run(json!({ "format": format })).unwrap();
        assert_eq!(parts["train"], rows, "{format}");
        let files: Vec<_> = fs::read_dir(space.path("dataset")).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(files, [file], "nothing else is left there");
    }
    let texts = [answer("one, two"), answer("\"three\"")];
    let space = Space::new(&[("a/train.jsonl", lines(texts.clone()))]);
    assert_eq!(space.run(json!({ "format": "csv" })).unwrap().0["train"], texts);
}

#[test]
fn steps_follow_one_another_and_say_what_they_dropped() {
    let long = "the liver makes bile which the gallbladder keeps until a meal comes and it is needed again";
    let near = long.replace("again", "there");
    let rows =
        [answer(long), answer("short"), answer(long), answer(&near), answer("a row that is long enough to stay here")];
    let csv = format!("prompt,completion\nwhat?,{long}\nwhat?,another row that is long enough to stay\n");
    let space = Space::new(&[("a/train.jsonl", lines(rows)), ("b/train.csv", csv)]);
    let (parts, report) = space
        .run(json!({ "steps": [
            { "step": "filter", "expression": "row.completion | length > 10" },
            { "step": "exact_duplicates" },
            { "step": "near_duplicates", "columns": ["completion"], "threshold": 0.6 },
        ] }))
        .unwrap();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["train"]);
    let kept: Vec<&str> = parts["train"].iter().map(|row| row["completion"].as_str().unwrap()).collect();
    assert_eq!(kept, [long, "a row that is long enough to stay here", "another row that is long enough to stay"]);
    assert_eq!((&report["rows"], &report["kept"]), (&json!(7), &json!(3)));
    let dropped = |step: usize, reason: &str| report["steps"][step]["dropped"][reason]["rows"].clone();
    assert_eq!(
        (dropped(0, "false"), dropped(1, "duplicate"), dropped(2, "near_duplicate")),
        (json!(1), json!(2), json!(1))
    );
    assert_eq!(report["steps"][1]["step"], "2 exact_duplicates");
    let example = &report["steps"][1]["dropped"]["duplicate"]["examples"][1];
    assert_eq!((&example["number"], &example["of"], &example["file"]), (&json!(6), &json!(1), &json!("train.csv")));
}

#[test]
fn benchmark_questions_go() {
    let question =
        "A young man has a sharp pain in the chest after a long flight and his left calf is swollen and warm";
    let item = json!({ "question": question, "answer": "Embolism", "answer_idx": "A",
        "options": { "A": "Embolism", "B": "Asthma", "C": "Angina", "D": "Reflux" } });
    let rows = [
        answer(&format!("Case: {question}? It is an embolism.")),
        answer("Something else altogether is said in this row."),
    ];
    let space =
        Space::new(&[("a/train.jsonl", lines(rows)), ("benchmarks/medqa_usmle_4opt_test.jsonl", lines([item]))]);
    let (parts, report) =
        space.run(json!({ "steps": [{ "step": "decontaminate", "columns": ["completion"] }] })).unwrap();
    assert_eq!(parts["train"].len(), 1);
    let example = &report["steps"][0]["dropped"]["contaminated"]["examples"][0];
    assert!(example["detail"].as_str().unwrap().starts_with("medqa-0001: "), "{example}");
    let told = space.run(json!({ "steps": [{ "step": "decontaminate" }], "max_dropped_ratio": 0.1 })).unwrap_err();
    assert!(told.contains("1 of 2 rows are dropped, most of them at step 1 decontaminate"), "{told}");
}

#[test]
fn data_sets_are_mixed_and_groups_stay_together() {
    let rows = |name: &'static str, count: usize| {
        lines((0..count).map(move |at| json!({ "set": name, "at": at, "group": at / 3 })))
    };
    let space = Space::new(&[("a/train.jsonl", rows("a", 90)), ("b/train.jsonl", rows("b", 30))]);
    let split = json!({ "parts": [{ "name": "train", "share": 0.8 }, { "name": "validation", "share": 0.2 }], "group": ["set", "group"] });
    let params = json!({ "weights": [1.0, 3.0], "amount": { "rows": 80 }, "split": split });
    let (parts, report) = space.run(params.clone()).unwrap();
    let of = |name: &str| parts.values().flatten().filter(|row| row["set"] == name).count();
    assert_eq!((of("a"), of("b")), (20, 60), "each row of b comes twice");
    let groups = |part: &str| {
        parts[part]
            .iter()
            .map(|row| (row["set"].to_string(), row["group"].to_string()))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(groups("train").is_disjoint(&groups("validation")));
    assert_eq!(report["parts"]["train"].as_u64().unwrap() + report["parts"]["validation"].as_u64().unwrap(), 80);
    assert_eq!(space.run(params).unwrap().0, parts, "the same again");

    let (plain, _) = space.run(json!({})).unwrap();
    let (shuffled, _) = space.run(json!({ "shuffle": true })).unwrap();
    assert_eq!(plain["train"].len(), 120);
    let sorted = |rows: &[Value]| {
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    assert!(plain != shuffled && sorted(&plain["train"]) == sorted(&shuffled["train"]));
}

#[test]
fn published_layouts_become_rows_to_train_on() {
    let structured = json!({ "case": "A cough.", "reasoning": "It is short.", "answer": "A cold." });
    let question = json!({ "question": "Which vessel?\nA. One\nB. Two", "answer": "B" });
    let space =
        Space::new(&[("a/train.jsonl", lines([structured])), ("b/train.jsonl", lines([question, answer("a row")]))]);
    let (parts, _) = space.run(json!({ "layout": "auto" })).unwrap();
    let [example, question, _] = &parts["train"][..] else { panic!("{parts:?}") };
    assert_eq!((&example["prompt"], &example["source"]), (&json!("A cough."), &json!("structured_medical")));
    assert_eq!(example["completion"], "<think>\nIt is short.\n</think>\n\nA cold.");
    assert!(question["prompt"].as_str().unwrap().contains("Which vessel?"), "{question}");
    assert_eq!(parts["train"][2], answer("a row"));
    let told = space.run(json!({ "layout": "medreason" })).unwrap_err();
    assert!(told.contains("train.jsonl:1: as medreason"), "{told}");
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let params = json!({
        "steps": [{ "step": "filter", "expression": "row.x >" }, { "step": "near_duplicates", "columns": ["x"], "threshold": 3.0 }],
        "weights": [1.0, -1.0], "shuffle": true,
        "split": { "parts": [{ "name": "a/b", "share": 0.5 }] },
    });
    let fields: Vec<String> =
        DynKind::check(&Curate, params.as_object().unwrap(), &[]).into_iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        ["steps[0].expression", "steps[1].threshold", "weights", "shuffle", "split.parts", "split.parts"]
    );
    let unknown = DynKind::check(
        &Curate,
        json!({ "steps": [{ "step": "filter", "expresion": "true" }] }).as_object().unwrap(),
        &[],
    );
    assert!(!unknown.is_empty());
}
