#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use gazal_stage_api::{Backend, DeviceRequest, DynKind, Event, Folders, Precision};
use serde_json::{Map, Value, json};

use super::*;

/// Folders of a stage, and all that it said.
struct Space {
    folder: tempfile::TempDir,
    said: Vec<Event>,
}

impl Space {
    fn new() -> Space {
        let space = Space { folder: tempfile::tempdir().unwrap(), said: Vec::new() };
        let items = [item("mini_medqa-0001", VIGNETTE, None), item("mini_medqa-0002", SHORT, None)];
        space.rows("benchmarks", "mini_medqa.jsonl", &items.map(|item| json!(item)));
        let asked = item("mini_pubmedqa-0001", "In gout, is naproxen of help?", Some(ABSTRACT));
        space.rows("benchmarks", "mini_pubmedqa.jsonl", &[json!(asked)]);
        space.rows("corpus", "train.jsonl", &[json!({"text": "Gout is treated first with naproxen."})]);
        let example = json!({"id": "train-000001", "prompt": "Question: Which treatment comes first in gout?",
            "completion": "<think>\nStep 1: …</think>\nThe answer is A.", "specialty": "internal"});
        space.rows("dataset", "train.jsonl", &[example]);
        let mut trained = item("prompts-000001", "What proves gout?", None);
        trained.options.reverse();
        let prompt = json!({"prompt": "What proves gout?", "item": trained});
        space.rows("prompts", "train.jsonl", &[prompt]);
        space
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn rows(&self, folder: &str, file: &str, rows: &[Value]) {
        gazal_data::jsonl::write_all(&self.path(folder).join(file), rows).unwrap();
    }

    fn run(&mut self, params: &Value) -> Result<(), String> {
        let training = ["corpus", "dataset", "prompts"].map(|name| self.path(name)).to_vec();
        let inputs = [("training", training), ("benchmarks", vec![self.path("benchmarks")])];
        let outputs = [("benchmarks", self.path("passed")), ("report", self.path("report"))];
        let folders = Folders {
            inputs: inputs.map(|(port, paths)| (port.to_string(), paths)).into(),
            outputs: outputs.map(|(port, path)| (port.to_string(), path)).into(),
            ..Folders::default()
        };
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let mut report = |event| self.said.push(event);
        let mut context = Context::new(folders, 0, device, &mut report, &|| false);
        DynKind::run(&Contamination, &params, &mut context).map_err(|error| error.to_string())
    }

    fn findings(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("report").join("contamination.json")).unwrap()).unwrap()
    }
}

const VIGNETTE: &str = "A patient is seen with tophi, fever and sudden toe pain. Which diagnosis is most likely?";
const SHORT: &str = "For gout, which treatment is first-line?";
const ABSTRACT: &str =
    "Naproxen was compared with placebo in 40 patients with gout. In 61% and 40% there was recovery.";

fn item(id: &str, question: &str, context: Option<&str>) -> Item {
    Item {
        id: id.into(),
        benchmark: id.rsplit_once('-').unwrap().0.into(),
        question: question.into(),
        context: context.map(String::from),
        options: ["gout", "naproxen", "insulin", "asthma"].map(String::from).to_vec(),
        answer: 0,
        cluster: "gout".into(),
        open: false,
    }
}

#[test]
fn a_clean_pair_passes_and_hands_the_benchmarks_on() {
    let mut space = Space::new();
    space.run(&json!({})).unwrap();
    for file in ["mini_medqa.jsonl", "mini_pubmedqa.jsonl"] {
        let read = |folder: &str| std::fs::read(space.path(folder).join(file)).unwrap();
        assert_eq!(read("benchmarks"), read("passed"));
    }
    let expected = json!({"rows": 3, "items": 3, "n": 13,
        "benchmarks": {"mini_medqa": 2, "mini_pubmedqa": 1}, "hits": []});
    assert_eq!(space.findings(), expected);
}

/// Plants a row in the data set that SFT reads and runs.
fn planted(row: Value) -> (Space, String) {
    let mut space = Space::new();
    space.rows("dataset", "train.jsonl", &[json!({"text": "harmless"}), row]);
    let error = space.run(&json!({})).unwrap_err();
    (space, error)
}

#[test]
fn a_planted_question_fails_the_stage_and_names_both_places() {
    let (space, error) = planted(json!({"id": "train-7", "prompt": format!("Question: {SHORT}"), "completion": "A"}));
    let expected =
        "mini_medqa-0002 in training input 2, train.jsonl:2 (train-7): \"for gout which treatment is first line\"";
    assert!(error.contains(expected) && error.contains("(1 hit)") && error.contains("remove these rows"), "{error}");
    assert!(!error.contains(space.folder.path().to_str().unwrap()));
    assert!(std::fs::read_dir(space.path("passed")).unwrap().next().is_none(), "a failed gate hands nothing on");
}

#[test]
fn questions_are_seen_in_every_layout() {
    let plain = planted(json!({"text": VIGNETTE.to_uppercase()})).1;
    assert!(plain.contains("mini_medqa-0001"), "{plain}");
    let asked = planted(json!({"prompt": "", "item": item("prompts-3", SHORT, None)})).1;
    assert!(asked.contains("mini_medqa-0002 in training input 2, train.jsonl:2 (prompts-3)"), "{asked}");
}

#[test]
fn what_a_held_out_question_tells_is_held_out_too() {
    let vignette = planted(json!({"text": "A patient is seen with tophi, fever and sudden toe pain; it is gout."})).1;
    assert!(vignette.contains("mini_medqa-0001"), "{vignette}");
    let study = planted(json!({"prompt": "Read.", "completion": ABSTRACT})).1;
    assert!(study.contains("mini_pubmedqa-0001"), "{study}");
}

#[test]
fn many_hits_are_counted_and_reported_on_demand() {
    let mut space = Space::new();
    space.rows("corpus", "train.jsonl", &vec![json!({"text": SHORT}); 7]);
    assert!(space.run(&json!({})).unwrap_err().contains("(7 hits)"));
    assert!(space.run(&json!({"action": "fail"})).unwrap_err().contains("and 2 more"));
    space.run(&json!({"action": "report"})).unwrap();
    assert_eq!(space.findings()["hits"].as_array().unwrap().len(), 7);
    assert!(space.said.iter().any(|event| matches!(event, Event::Message { level: Level::Warning, .. })));
    assert!(space.path("passed").join("mini_medqa.jsonl").exists());
}

#[test]
fn published_files_are_read_too() {
    let mut space = Space::new();
    let short = json!({"question": "Gouty tophi", "answer_idx": "B",
        "options": {"A": "one", "B": "two", "C": "three", "D": "four"}});
    let row = json!({"question": "Which entirely published question about gouty tophi is meant?", "answer_idx": "A",
        "options": {"A": "a", "B": "b", "C": "c", "D": "d"}});
    space.rows("benchmarks", "medqa_usmle_4opt_test.jsonl", &[row, short]);
    space.run(&json!({})).unwrap();
    assert_eq!(space.findings()["benchmarks"]["medqa"], 2);
    space.rows(
        "corpus",
        "train.jsonl",
        &[json!({"text": "so: which entirely published question about gouty tophi is meant"})],
    );
    assert!(space.run(&json!({})).unwrap_err().contains("medqa-000"));
    space.rows("corpus", "train.jsonl", &[json!({"text": "Gouty tophi hurt."})]);
    space.run(&json!({})).unwrap();
    space.rows("corpus", "train.jsonl", &[json!({"text": "Gouty tophi: A. One B. Two C. Three D. Four"})]);
    assert!(space.run(&json!({})).unwrap_err().contains("medqa-000"));
}

#[test]
fn a_short_question_about_an_abstract_is_looked_for_with_it() {
    let mut space = Space::new();
    let context = "Tophaceous deposits were sampled from eleven ageing fishermen who had never been treated before.";
    let file = json!({"1": {"QUESTION": "Is it gout?", "CONTEXTS": [context], "final_decision": "maybe"}});
    let folder = space.path("benchmarks");
    std::fs::write(folder.join("ori_pqal.json"), file.to_string()).unwrap();
    let asked = "Patients were asked. Is it gout? Options: - yes A - no B - maybe C";
    space.rows("corpus", "train.jsonl", &[json!({"text": asked})]);
    space.run(&json!({})).unwrap();
    space.rows("corpus", "train.jsonl", &[json!({"text": context})]);
    assert!(space.run(&json!({})).unwrap_err().contains("pubmedqa/1"));
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let mut space = Space::new();
    space.rows("corpus", "train.jsonl", &[json!({"messages": []})]);
    assert!(space.run(&json!({})).unwrap_err().contains("train.jsonl:1: neither `text` nor `prompt`"));
    for name in ["corpus", "dataset", "prompts"] {
        space.rows(name, "train.jsonl", &[]);
    }
    assert!(space.run(&json!({})).unwrap_err().contains("no training row"));
    let problems = DynKind::check(&Contamination, json!({"ngram": 0}).as_object().unwrap(), &[]);
    assert_eq!(problems[0].field, "ngram");
}

#[test]
fn what_synth_makes_for_training_and_for_evaluation_is_apart() {
    let kinds: [(&dyn DynKind, Value, &[&str]); 3] = [
        (&synth::Knowledge, json!({}), &["conditions"]),
        (
            &synth::Synth,
            json!({"num_pages": 500, "num_first_exercises": 100, "num_exercises": 300, "num_examples": 2000, "num_validation": 100, "num_prompts": 500}),
            &["corpus", "dataset", "prompts"],
        ),
        (&synth::Benchmarks, json!({}), &["benchmarks"]),
    ];
    let mut space = Space { folder: tempfile::tempdir().unwrap(), said: Vec::new() };
    for (kind, params, outputs) in kinds {
        let folders = Folders {
            inputs: [("knowledge".to_string(), vec![space.path("conditions")])].into(),
            outputs: outputs.iter().map(|name| (name.to_string(), space.path(name))).collect(),
            ..Folders::default()
        };
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let mut silent = |_| ();
        let mut context = Context::new(folders, 3407, device, &mut silent, &|| false);
        kind.run(params.as_object().unwrap(), &mut context).unwrap();
    }
    space.run(&json!({})).unwrap();
    assert!(space.findings()["items"].as_u64().unwrap() >= 600);
}
