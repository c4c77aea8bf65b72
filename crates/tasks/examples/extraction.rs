//! What each extraction rule reads in real answers of models, and whether published figures come out.
//!
//! ```text
//! cargo run --release -p gazal-tasks --example extraction -- FOLDER [RULE]
//! ```
//! `FOLDER` holds the benchmarks in their publishers' files and `mirage_gpt4_cot.jsonl.gz` (`dataset`, `id` and
//! `outputs` of MIRAGE's repository, gathered) and `mmlu_pro_qwen15_7b_outputs.jsonl.gz` (`question_id`, `pred` and
//! `generated_text` of MMLU-Pro's). `EXTRACTION.md` has the output. With a rule, the answers are listed that it reads
//! otherwise than ours.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use gazal_tasks::scoring::first_last_maximum;
use gazal_tasks::{BENCHMARKS, Extraction, ExtractionRule, Item, find_file};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A text with the question that it answers.
struct Answer {
    set: String,
    item: Item,
    text: String,
    /// What the publishers read.
    published: Option<String>,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: extraction FOLDER [RULE]")?;
    let rule = arguments.next();
    let folder = Path::new(&folder);
    let items = items(folder)?;
    let mut answers = mirage(folder, &items)?;
    answers.extend(mmlu_pro(folder, &items)?);
    match rule {
        Some(name) => list(&answers, ExtractionRule::named(&name).ok_or("there is no rule of this name")?),
        None => tables(&answers),
    }
    Ok(())
}

/// All questions of the folder, by the name that the files of answers give their set, and their id there.
fn items(folder: &Path) -> Outcome<BTreeMap<(String, String), Item>> {
    let names: Vec<String> =
        std::fs::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut items = BTreeMap::new();
    println!("questions read:");
    for benchmark in BENCHMARKS {
        let files = benchmark.files.iter().filter(|file| names.iter().any(|name| name == *file));
        for file in files {
            let read = benchmark.read(&std::fs::read_to_string(folder.join(file))?)?;
            println!("  {file}: {}", read.len());
            for (place, item) in read.into_iter().enumerate() {
                items.insert(key(place, &item), item);
            }
        }
    }
    let best = BENCHMARKS.iter().filter(|benchmark| find_file(benchmark, &names).is_some()).count();
    println!("  {best} benchmarks, {} questions\n", items.len());
    Ok(items)
}

fn key(place: usize, item: &Item) -> (String, String) {
    match item.benchmark.as_str() {
        "medqa" => ("medqa".into(), format!("test_{place:04}")),
        "medmcqa" => ("medmcqa".into(), format!("dev_{}", item.id)),
        "mmlu_pro" => ("mmlu_pro".into(), item.id.clone()),
        name => (name.split('_').next().unwrap_or(name).into(), format!("test_{}", item.id)),
    }
}

fn mirage(folder: &Path, items: &BTreeMap<(String, String), Item>) -> Outcome<Vec<Answer>> {
    let rows = rows(&folder.join("mirage_gpt4_cot.jsonl.gz"))?;
    let answers = rows.iter().map(|row| {
        let set = row["dataset"].as_str().ok_or("no `dataset`")?.to_string();
        let id = row["id"].as_str().ok_or("no `id`")?.to_string();
        let text = row["outputs"][0].as_str().ok_or("no `outputs`")?.to_string();
        let item = items.get(&(set.clone(), id.clone())).ok_or(format!("{set} has no question {id}"))?;
        Ok(Answer { set, item: item.clone(), text, published: None })
    });
    answers.collect()
}

fn mmlu_pro(folder: &Path, items: &BTreeMap<(String, String), Item>) -> Outcome<Vec<Answer>> {
    let text = std::fs::read_to_string(folder.join("mmlu_pro_health_biology.jsonl"))?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let categories: BTreeMap<_, _> =
        lines.iter().map(|row| (row["question_id"].to_string(), row["category"].as_str())).collect();
    let rows = rows(&folder.join("mmlu_pro_qwen15_7b_outputs.jsonl.gz"))?;
    let answers = rows.iter().map(|row| {
        let id = row["question_id"].to_string();
        let set = format!("mmlu_pro {}", categories.get(&id).copied().flatten().ok_or("no `category`")?);
        let text = row["generated_text"].as_str().ok_or("no `generated_text`")?.to_string();
        let item = items.get(&("mmlu_pro".into(), id.clone())).ok_or(format!("mmlu_pro has no question {id}"))?;
        let published = Some(row["pred"].as_str().unwrap_or("none").to_string());
        Ok(Answer { set, item: item.clone(), text, published })
    });
    answers.collect()
}

/// The rows of a gzipped file of JSON Lines.
fn rows(path: &Path) -> Outcome<Vec<Value>> {
    let bytes = std::fs::read(path)?;
    let flags = *bytes.get(3).ok_or("no gzip file")?;
    // RFC 1952: a header of ten bytes, and the file's name where its flag is set.
    let name = bytes.iter().skip(10).position(|&byte| byte == 0).map_or(0, |end| end + 1);
    let begin = 10 + if flags & 8 == 0 { 0 } else { name };
    let text = miniz_oxide::inflate::decompress_to_vec(bytes.get(begin..).unwrap_or_default())
        .map_err(|error| format!("{}: {error:?}", path.display()))?;
    String::from_utf8(text)?.lines().map(|line| serde_json::from_str(line).map_err(Into::into)).collect()
}

fn tables(answers: &[Answer]) {
    let mut sets = BTreeMap::<&str, Vec<&Answer>>::new();
    for answer in answers {
        sets.entry(&answer.set).or_default().push(answer);
    }
    for (set, answers) in sets {
        println!("{set}: {} answers", answers.len());
        println!("  {:18} {:>6} {:>6} {:>8} {:>15}", "rule", "read", "right", "accuracy", "of those read");
        let right: Vec<usize> = answers.iter().map(|answer| answer.item.answer).collect();
        for rule in ExtractionRule::ALL {
            line(rule, &answers);
        }
        let read = |rule: ExtractionRule| -> Vec<Extraction> {
            answers.iter().map(|answer| rule.read(&answer.text, &answer.item.options)).collect()
        };
        let both = [ExtractionRule::HuatuoFirst, ExtractionRule::HuatuoLast].map(read);
        let maximum = first_last_maximum(&both[0], &both[1], &right).unwrap_or(f64::NAN);
        println!("  {:18} {:>6} {:>6} {:8.2}", "huatuo maximum", "", "", 100.0 * maximum);
        agreement(&answers);
    }
}

/// What one rule makes of a set: how many answers it finds, how many count as right, and how many of the found are.
fn line(rule: ExtractionRule, answers: &[&Answer]) {
    let count = |is: &dyn Fn(&&&Answer) -> bool| answers.iter().filter(is).count();
    let found = |answer: &Answer| rule.find(&answer.text, &answer.item.options).answer();
    let read = count(&|answer| found(answer).is_some());
    let right = count(&|answer| found(answer) == Some(answer.item.answer));
    let counted = count(&|answer| rule.read(&answer.text, &answer.item.options).answer() == Some(answer.item.answer));
    let accuracy = 100.0 * counted as f64 / answers.len() as f64;
    let of_read = 100.0 * right as f64 / read as f64;
    println!("  {:18} {read:>6} {counted:>6} {accuracy:8.2} {of_read:15.2}", rule.name());
}

/// How often MMLU-Pro's rules read what its repository read.
fn agreement(answers: &[&Answer]) {
    for rule in [ExtractionRule::MmluPro1, ExtractionRule::MmluPro2, ExtractionRule::MmluPro3] {
        let compared = answers.iter().filter_map(|answer| Some((answer, answer.published.as_ref()?)));
        let equal = compared.clone().filter(|(answer, published)| name(rule, answer) == **published).count();
        if compared.clone().count() > 0 {
            println!("  {} reads the repository's `pred` in {equal} of {}", rule.name(), compared.count());
        }
    }
}

/// The letter among the options as they are published, before the fillers `N/A` go. None of these questions has one
/// before another option, so the letters are the same.
fn name(rule: ExtractionRule, answer: &Answer) -> String {
    match rule.read(&answer.text, &answer.item.options) {
        Extraction::Answer(index) => answer.item.labels().nth(index).map_or("none".into(), String::from),
        Extraction::Invalid | Extraction::Unfinished => "none".into(),
    }
}

fn list(answers: &[Answer], rule: ExtractionRule) {
    for answer in answers {
        let [ours, theirs] = [ExtractionRule::Gazal, rule].map(|rule| name(rule, answer));
        if ours != theirs {
            let end: String = answer.text.chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect();
            let right = answer.item.answer_label();
            println!("{} {}: {ours}, {} {theirs}, right {right}: {end:?}", answer.set, answer.item.id, rule.name());
        }
    }
}
