//! How fast rows are curated and how much memory that takes: `curate MIB [FOLDER]`.
//!
//! Writes JSON Lines of so many mebibytes into a folder (`.` without one), of which some rows are equal to one before and
//! some nearly so, passes them through a filter, a length, exact and near-duplicates, and prints what each step did, the
//! rows a second and the most that the process had resident (`VmHWM`). The rows are removed again.
//!
//! `curate near FILE THRESHOLD WEIGHT` looks for near-duplicates in the column `text` of a file and prints a line for
//! each that is dropped, its number and that of the row that it is like, and then the seconds that it took.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gazal_data::curation::{
    Chain, Duplicates, ExactDuplicates, Expression, Filter, Length, Lengths, Measure, Near, NearDuplicates, PlacedRow,
    Reason, Sources, Step, Verdict,
};
use gazal_data::{Row, Stream, jsonl};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [near, file, threshold, weight] if near == "near" => {
            near_duplicates(file.into(), threshold.parse()?, weight.parse()?)
        }
        [mebibytes, folder @ ..] => curate(mebibytes.parse()?, Path::new(folder.first().map_or(".", String::as_str))),
        [] => Err("how many mebibytes?".into()),
    }
}

fn near(threshold: f64, false_negative_weight: f64) -> Result<NearDuplicates, Box<dyn Error>> {
    let params = json!({"columns": ["text"], "threshold": threshold, "false_negative_weight": false_negative_weight});
    Ok(NearDuplicates::new(serde_json::from_value::<Near>(params)?)?)
}

fn near_duplicates(file: PathBuf, threshold: f64, weight: f64) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut step = near(threshold, weight)?;
    let rows = Sources::new([file]).collect::<Result<Vec<PlacedRow>, _>>()?;
    let read = start.elapsed().as_secs_f64();
    let verdicts = step.keep_all(&rows)?;
    let seconds = start.elapsed().as_secs_f64() - read;
    for (row, verdict) in rows.iter().zip(verdicts) {
        if let Verdict::Dropped(Reason::NearDuplicate { of, .. }) = verdict {
            println!("{} {of}", row.number);
        }
    }
    println!("seconds {seconds}");
    Ok(())
}

fn curate(mebibytes: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("rows.jsonl");
    let rows = write(&path, mebibytes << 20)?;
    let (before, start) = (resident_at_most()?, Instant::now());
    let mut chain = Chain::new()
        .then("filter", Filter::new(Expression { expression: "row.id % 50 != 0 and row.lang == \"en\"".into() })?)
        .then(
            "length",
            Length::new(Lengths { columns: vec!["text".into()], unit: Measure::Words, min: 20, max: None })?,
        )
        .then(
            "exact duplicates",
            ExactDuplicates::new(Duplicates { columns: vec!["text".into()], ..Default::default() }),
        )
        .then("near-duplicates", near(0.8, 0.9)?);
    let mut out = jsonl::Writer::create(&folder.path().join("kept.jsonl"))?;
    chain.run(Sources::new([path.clone()]), |row| out.write(&row.row))?;
    let (kept, seconds) = (out.finish()?, start.elapsed().as_secs_f64());
    for report in chain.reports() {
        let dropped: Vec<String> = report.dropped.iter().map(|(name, of)| format!("{name} {}", of.rows)).collect();
        println!("{:18} {:9} rows in, {:9} kept, {}", report.step, report.rows, report.kept, dropped.join(", "));
    }
    let after = resident_at_most()?;
    let mib = std::fs::metadata(&path)?.len() as f64 / f64::from(1 << 20);
    println!(
        "{rows} rows, {mib:.0} MiB, {kept} kept: {seconds:.1} s, {:.0} rows/s, {:.0} MiB/s",
        rows as f64 / seconds,
        mib / seconds
    );
    println!("{before} MiB resident at most before, {after} MiB at most after");
    Ok(())
}

/// Texts of 100 to 300 words; every tenth row repeats one of those before, every other one of these with a word changed.
fn write(path: &Path, bytes: u64) -> Result<u64, Box<dyn Error>> {
    let stream = Stream::new(0, "rows to curate");
    let (mut file, mut rows, mut written) = (jsonl::Writer::create(path)?, 0, 0);
    while written < bytes {
        let of = if rows % 10 == 9 { stream.below(0, rows, rows as usize) as u64 } else { rows };
        let mut text = text(&stream, of);
        if rows % 20 == 19 {
            text.push_str(" indeed");
        }
        written += text.len() as u64 + 40;
        let row: Row = [("id", json!(rows)), ("lang", json!("en")), ("text", Value::from(text))]
            .map(|(column, value)| (column.to_string(), value))
            .into_iter()
            .collect();
        file.write(&row)?;
        rows += 1;
    }
    file.finish()?;
    Ok(rows)
}

fn text(stream: &Stream, row: u64) -> String {
    let words = 100 + stream.below(1, row, 200) as u64;
    let word = |at| format!("{:05x}", stream.below(2 + at, row, 50_000));
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

fn resident_at_most() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
