#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gazal_stage_api::{Backend, DeviceRequest, DynKind, Folders, Precision};
use serde_json::{Map, Value, json};

use super::*;

const MODELS: [&str; 2] = ["base", "sft"];
const SETS: [(&str, usize); 2] = [("mini_medqa", 4), ("mini_pubmedqa", 3)];
const QUESTIONS: usize = 24;

/// Question `n` has the right answer `n % 2`; base is right on every fourth, sft on all but every sixth.
fn sample(protocol: Protocol, model: &str, group: &str, (set, options): (&str, usize), n: usize) -> Sample {
    let correct = if model == "base" { n.is_multiple_of(4) } else { !n.is_multiple_of(6) };
    let target = n % 2;
    let generated = protocol == Protocol::GenerateCot;
    Sample {
        id: format!("{set}-{n:04}"),
        benchmark: set.into(),
        cluster: format!("condition {}", n % 12),
        protocol,
        label: model.into(),
        group: group.into(),
        target,
        answer: if correct { Some(target) } else { (n != 1).then_some(2) },
        correct,
        resps: if generated { Vec::new() } else { vec![-1.0; options] },
        prompt: generated.then(|| format!("<Which> of {n}?")),
        completion: generated.then(|| format!("<think> of {model}")),
        unfinished: n == 1,
        formatted: generated && (model == "sft" || n.is_multiple_of(2)),
        reward: generated.then(|| f64::from(u8::from(correct)) + 0.5),
        ..Sample::default()
    }
}

fn samples(model: &str, group: &str) -> Vec<Sample> {
    let all = PROTOCOLS.into_iter().flat_map(|protocol| SETS.map(|set| (protocol, set)));
    all.flat_map(|(protocol, set)| (0..QUESTIONS).map(move |n| sample(protocol, model, group, set, n))).collect()
}

/// Runs the kind on these samples, a folder each, and gives the files of its outputs.
fn run(params: &Value, samples: &[Vec<Sample>]) -> Result<BTreeMap<String, String>, String> {
    let space = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = space.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let inputs: Vec<PathBuf> = (0..samples.len()).map(|index| folder(&format!("samples{index}"))).collect();
    for (path, rows) in inputs.iter().zip(samples) {
        gazal_data::jsonl::write_all(&path.join("samples.jsonl"), rows).unwrap();
    }
    let histories = vec![supervised(&folder("sft")), policy(&folder("grpo"))];
    let outputs = ["report", "metrics", "card"].map(|name| (name.to_string(), folder(name)));
    let findings = folder("contamination");
    let hit = json!({"item": "medqa/7", "row": "train-3", "ngram": "<a> long winter", "rule": "ngram"});
    let found = json!({"rows": 900, "items": 48, "n": 13, "benchmarks": {"medqa": 48}, "hits": [hit]});
    std::fs::write(findings.join("contamination.json"), found.to_string()).unwrap();
    let inputs = [("samples", inputs), ("histories", histories), ("contamination", vec![findings])];
    let folders = Folders {
        inputs: inputs.map(|(port, folders)| (port.to_string(), folders)).into(),
        outputs: outputs.clone().into(),
        ..Folders::default()
    };
    let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
    let mut silent = |_| ();
    let mut context = Context::new(folders, 0, device, &mut silent, &|| false);
    let params: Map<String, Value> = params.as_object().unwrap().clone();
    DynKind::run(&ReportKind, &params, &mut context).map_err(|error| error.to_string())?;
    let entries = outputs.iter().flat_map(|(_, path)| std::fs::read_dir(path).unwrap());
    let read = entries.map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    });
    Ok(read.collect())
}

fn write_log(folder: &Path, log: &[Value]) -> PathBuf {
    std::fs::write(folder.join("trainer_state.json"), json!({"log_history": log}).to_string()).unwrap();
    folder.to_path_buf()
}

fn supervised(folder: &Path) -> PathBuf {
    let mut log: Vec<Value> = (1..=50).map(|step| json!({"step": step, "loss": 5.0 / f64::from(step)})).collect();
    log.push(json!({"step": 50, "eval_loss": 0.2}));
    write_log(folder, &log)
}

fn policy(folder: &Path) -> PathBuf {
    let entry =
        |step| json!({"step": step, "loss": 0.0, "reward": 1.0, "rewards/accuracy_reward/mean": 0.5, "kl": 0.01});
    write_log(folder, &(1..=5).map(entry).collect::<Vec<_>>())
}

/// Two models and two seeds.
fn report(params: &Value) -> BTreeMap<String, String> {
    let runs = ["3", "14"].map(|group| MODELS.map(|model| samples(model, group)));
    let mut given = json!({"resamples": 400, "title": "<A & B>"});
    given.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    run(&given, &runs.concat()).unwrap()
}

fn numbers(files: &BTreeMap<String, String>) -> Value {
    serde_json::from_str(&files["report.json"]).unwrap()
}

#[test]
fn the_numbers_of_a_small_case() {
    let report = numbers(&report(&json!({})));
    let table = &report["tables"][0];
    assert_eq!((&table["protocol"], &table["metric"]), (&json!("loglikelihood"), &json!("accuracy")));
    assert_eq!(table["columns"], json!(["mini_medqa", "mini_pubmedqa", "average"]));
    let [base, sft] = [0, 1].map(|row| table["models"][row]["cells"].clone());
    assert_eq!((&base[0]["mean"], &base[2]["mean"]), (&json!(0.25), &json!(0.25)));
    assert_eq!((&base[0]["items"], &base[2]["items"], &base[2]["clusters"]), (&json!(48), &json!(96), &json!(12)));
    assert!((sft[2]["mean"].as_f64().unwrap() - 20.0 / 24.0).abs() < 1e-12);
    let gain = &table["differences"][0]["cells"][2];
    assert!((gain["mean"].as_f64().unwrap() - (20.0 - 6.0) / 24.0).abs() < 1e-12);
    assert_eq!(gain["verdict"], "above_zero");
    assert_eq!(report["groups"], json!(["3", "14"]), "seeds are ordered as numbers");
    assert_eq!(table["groups"][1]["models"][0]["mean"], 0.25);
    assert_eq!(table["groups"][0]["differences"][0]["items"], 48);
}

#[test]
fn baselines_stand_beside_the_models_that_contain_them() {
    let table = numbers(&report(&json!({})))["tables"][0].clone();
    let [guess, frequent] = [0, 1].map(|row| table["baselines"][row]["cells"].clone());
    assert_eq!(guess[0], 0.25);
    assert!((guess[2].as_f64().unwrap() - (0.25 + 1.0 / 3.0) / 2.0).abs() < 1e-12);
    assert_eq!(frequent, json!([0.5, 0.5, 0.5]));
    assert!(table["models"][0]["cells"][0]["contains"].as_array().unwrap().contains(&json!("uniform guessing")));
    assert_eq!(table["models"][1]["cells"][0]["contains"], json!([]));
}

#[test]
fn protocols_have_tables_of_their_own() {
    let report = numbers(&report(&json!({})));
    let tables = report["tables"].as_array().unwrap();
    let kinds: Vec<String> = tables.iter().map(|table| format!("{} {}", table["protocol"], table["metric"])).collect();
    assert_eq!(kinds.len(), 6);
    assert_eq!(
        (kinds[0].as_str(), kinds[2].as_str()),
        ("\"loglikelihood\" \"accuracy\"", "\"generate_cot\" \"reward\"")
    );
    let average = |table: usize, row: usize| tables[table]["models"][row]["cells"][2]["mean"].as_f64().unwrap();
    assert_eq!((average(2, 0), average(3, 0), average(3, 1)), (0.75, 0.5, 1.0));
    assert!((average(5, 0) - 1.0 / 24.0).abs() < 1e-12);
    let verdict = |table: usize| tables[table]["differences"][0]["cells"][2]["verdict"].clone();
    assert_eq!((verdict(3), verdict(4)), (json!("above_zero"), json!("within_noise")), "one question is no evidence");
}

#[test]
fn equal_inputs_give_equal_bytes_and_a_page_that_needs_nothing() {
    let files = report(&json!({"history_names": ["SFT"]}));
    assert_eq!(files, report(&json!({"history_names": ["SFT"]})));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = ["metrics.json", "report.html", "report.json", "report.txt", "1-sft-loss.svg"];
    assert!(
        expected.iter().all(|name| names.contains(name)) && names.contains(&"2-training-2-reward.svg"),
        "{names:?}"
    );
    let page = &files["report.html"];
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="));
    assert!(page.contains("&lt;A &amp; B&gt;") && !page.contains("<A & B>"));
    assert!(page.contains(words::DISCLAIMER.split(':').next().unwrap()) && page.contains("not comparable"));
    assert!(page.contains("above zero") && page.contains("held-out") && page.contains("prefers-color-scheme: dark"));
    assert!(files["1-sft-loss.svg"].starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\""));
}

#[test]
fn the_card_says_what_the_model_is_not_for() {
    let card = &report(&json!({"history_names": ["SFT"]}))["README.md"];
    assert!(card.starts_with("---\nlibrary_name: transformers\n") && card.contains("# <A & B>\n"));
    assert!(card.contains("no clinical use") && card.contains("must not be used to diagnose"), "{card}");
    assert!(
        card.contains("| base | 25.0 [") && card.contains("above zero |") && card.contains("SFT, training 2"),
        "{card}"
    );
    assert!(!report(&json!({"disclaimer": false}))["README.md"].contains("diagnose"));
}

#[test]
fn the_text_fits_a_terminal() {
    let files = report(&json!({"disclaimer": false}));
    let text = &files["report.txt"];
    assert!(text.lines().all(|line| line.chars().count() <= text::WIDTH && line.trim_end() == line), "{text}");
    assert!(!text.contains("no clinical use") && !files["report.html"].contains("no clinical use"));
    let rows =
        ["uniform guessing", "could find ", "sft \u{2212} base", "seed 14", "GENERATED ANSWERS", "well-formed %"];
    rows.iter().for_each(|row| assert!(text.contains(row), "{row} in\n{text}"));
}

/// What is said of a difference goes by a test, corrected for the benchmarks of its row.
#[test]
fn verdicts_are_tested_and_corrected() {
    let cells = numbers(&report(&json!({})))["tables"][0]["differences"][0]["cells"].clone();
    let p = |index: usize, name: &str| cells[index][name].as_f64().unwrap();
    assert!(p(0, "p") > 0.0 && (p(0, "p_adjusted") - 2.0 * p(0, "p")).abs() < 1e-12, "{cells}");
    assert_eq!(p(2, "p"), p(2, "p_adjusted"), "the average is a question of its own");
    let few = |model: &str| {
        samples(model, "")
            .into_iter()
            .filter(|sample| sample.id.ends_with("-0004") || sample.id.ends_with("-0005"))
            .collect::<Vec<_>>()
    };
    let report = run(&json!({"resamples": 100}), &[few("base"), few("sft")]).unwrap();
    let cell = numbers(&report)["tables"][0]["differences"][0]["cells"][0].clone();
    assert_eq!(
        (&cell["mean"], &cell["verdict"]),
        (&json!(0.5), &json!("within_noise")),
        "two questions are no evidence"
    );
    for form in ["report.txt", "report.html"] {
        assert!(report[form].contains("too few to tell"), "{form}");
    }
}

/// Questions are drawn in turn from what became of them, with what both models wrote.
#[test]
fn texts_stand_side_by_side() {
    let files = report(&json!({"examples": 5}));
    let examples = numbers(&files)["examples"].clone();
    // Of two sets of 24 each, base is right on every fourth question, sft on all but every sixth.
    assert_eq!(
        examples["counts"],
        json!({"became_right": 32, "became_wrong": 4, "stayed_right": 8, "stayed_wrong": 4})
    );
    let shown: Vec<&Value> = examples["shown"].as_array().unwrap().iter().map(|shown| &shown["change"]).collect();
    assert_eq!(shown, ["became_right", "became_wrong", "stayed_right", "stayed_wrong", "became_right"]);
    let first = &examples["shown"][0];
    assert_eq!((&first["before"]["correct"], &first["after"]["correct"]), (&json!(false), &json!(true)));
    assert_eq!(first["after"]["answer"], first["target"]);
    let page = &files["report.html"];
    assert!(
        page.contains("&lt;think&gt; of base") && page.contains("&lt;Which&gt; of") && page.contains("became wrong")
    );
    assert!(page.contains("32 became right, 4 became wrong, 8 stayed right, 4 stayed wrong"));
    assert_eq!(numbers(&run(&json!({"resamples": 100}), &[samples("base", "")]).unwrap())["examples"], Value::Null);
}

#[test]
fn leaks_are_told() {
    let files = report(&json!({}));
    for form in ["report.html", "report.txt", "README.md"] {
        let text = files[form].split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("48 questions were looked for in 900 training rows"), "{form}");
    }
    assert!(files["report.html"].contains("<code>train-3</code>: &lt;a&gt; long winter"));
}

#[test]
fn the_published_table_is_shown_where_it_is_asked_for() {
    let files = report(&json!({"published": true}));
    let published = numbers(&files)["published"].clone();
    assert_eq!(published["columns"][2], "MedQA");
    assert_eq!(published["models"][0]["cells"][2]["accuracy"], 0.871);
    for form in ["report.txt", "report.html"] {
        assert!(files[form].contains("Gazal-R1 (final)") && files[form].contains("[85.2, 88.9]"), "{form}");
    }
    assert!(files["report.txt"].lines().all(|line| line.chars().count() <= text::WIDTH));
    assert_eq!(numbers(&report(&json!({})))["published"], Value::Null);
}

#[test]
fn metrics_can_be_compared_by_a_gate() {
    let metrics: Value = serde_json::from_str(&report(&json!({}))["metrics.json"]).unwrap();
    assert_eq!(metrics["mini_medqa"]["base.acc"], 0.25);
    assert_eq!(metrics["average"]["base.reward"], 0.75);
    assert!(metrics["average"]["sft-base.acc_generate_cot_low"].as_f64().unwrap() > 0.0);
}

#[test]
fn models_are_compared_in_the_order_that_is_asked_for() {
    let report = numbers(&report(&json!({"models": ["sft", "base"]})));
    let row = &report["tables"][0]["differences"][0];
    assert_eq!((&row["left"], &row["right"]), (&json!("sft"), &json!("base")));
    assert_eq!(row["cells"][2]["verdict"], "below_zero");
}

#[test]
fn one_model_of_every_seed_and_one_model_alone() {
    let shared = [samples("base", ""), samples("sft", "0"), samples("sft", "1")];
    let table = numbers(&run(&json!({"resamples": 100}), &shared).unwrap())["tables"][0].clone();
    assert_eq!(table["groups"].as_array().unwrap().len(), 2);
    assert_eq!(table["groups"][0]["models"][0]["mean"], 0.25);
    assert_eq!(table["differences"][0]["cells"][2]["items"], 96);
    let alone = numbers(&run(&json!({"resamples": 100}), &[samples("base", "")]).unwrap());
    assert_eq!((&alone["tables"][0]["differences"], &alone["groups"]), (&json!([]), &json!([])));
}

#[test]
fn several_answers_to_a_question_are_one_score() {
    let mut several = samples("base", "");
    let again = several.clone().into_iter().map(|sample| Sample { generation: 1, correct: true, ..sample });
    several.extend(again.filter(|sample| sample.protocol == Protocol::GenerateCot).collect::<Vec<_>>());
    let tables = numbers(&run(&json!({"resamples": 100}), &[several]).unwrap())["tables"].clone();
    let generated = tables.as_array().unwrap().iter().find(|table| table["protocol"] == "generate_cot").unwrap();
    let cell = &generated["models"][0]["cells"][0];
    assert_eq!((&cell["mean"], &cell["items"]), (&json!((0.25 + 1.0) / 2.0), &json!(QUESTIONS)));
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let error = |params: Value, samples: &[Vec<Sample>]| run(&params, samples).unwrap_err();
    let unknown = error(json!({"models": ["grpo"]}), &[samples("base", "")]);
    assert!(unknown.contains("`grpo` is no label of the samples; they have base"), "{unknown}");
    let mut other = samples("sft", "");
    other[0].target = 3;
    let changed = error(json!({}), &[samples("base", ""), other]);
    assert!(
        changed.contains("`sft` cannot be compared with `base`: question `mini_medqa-0000 (answer 1)`"),
        "{changed}"
    );
    let twice = error(json!({}), &[samples("base", ""), samples("base", "")]);
    assert!(twice.contains("samples of `base`: question") && twice.contains("twice"), "{twice}");
    assert!(error(json!({}), &[Vec::new()]).contains("no sample"));
    let names = error(json!({"history_names": ["a", "b", "c"]}), &[samples("base", "")]);
    assert!(names.contains("names 3 histories, but 2 are connected"), "{names}");
    let problems = DynKind::check(&ReportKind, json!({"resamples": 0, "models": ["a", "a"]}).as_object().unwrap(), &[]);
    assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["resamples", "models"]);
}

mod comparisons;
