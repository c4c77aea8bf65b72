//! From data sets to parts: steps over each data set, then the mixture, the order and the parts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gazal_data::curation::{Chain, Mix, Mixture, Part, Parts, PlacedRow, Sources, Split, mixed, shuffle};
use gazal_data::rows::{self, split_in};
use gazal_data::{DataError, jsonl};
use gazal_stage_api::{Context, Level, Problem, StageError};
use serde_json::json;

use super::steps::{self, problem};
use super::{Params, layout};

/// Rows that stay between two reports of progress.
const REPORTED: u64 = 10_000;

pub fn run(params: &Params, context: &mut Context) -> Result<(), StageError> {
    let mut chain = steps::chain(&params.steps, context)?;
    let kept = keep(params, &mut chain, context)?;
    let (rows, stayed) = (kept.iter().map(|set| set.rows).sum::<u64>(), kept.iter().map(|set| set.kept).sum::<u64>());
    let dropped = 1.0 - stayed as f64 / rows.max(1) as f64;
    context.say(Level::Info, format!("{stayed} of {rows} rows stay"));
    if stayed == 0 || dropped > params.max_dropped_ratio {
        let worst = chain.reports().into_iter().max_by_key(|report| report.rows - report.kept);
        let worst = worst.map_or_else(String::new, |report| format!(", most of them at step {}", report.step));
        return Err(StageError::failed(format!(
            "{} of {rows} rows are dropped{worst}: look at the expressions and thresholds, or raise `max_dropped_ratio`",
            rows - stayed
        )));
    }
    let files: Vec<Vec<PathBuf>> = kept.iter().map(|set| vec![set.file.clone()]).collect();
    let counts: Vec<u64> = kept.iter().map(|set| set.kept).collect();
    let mut parts = Written::create(params, context)?;
    match params.weights.is_empty() {
        true => parts.take(ordered(params, files, context.seed)?)?,
        false => {
            let mix = Mix::new(&mixture(params), &counts, context.seed).map_err(StageError::failed)?;
            parts.take(mixed(files, mix))?;
        }
    }
    let written = parts.finish(params)?;
    let report = json!({ "rows": rows, "kept": stayed, "steps": chain.reports(), "parts": written });
    let path = context.output("report")?.join("curation.json");
    std::fs::write(&path, format!("{report:#}\n")).map_err(StageError::io(&path))
}

/// What is wrong with what comes after the steps, as far as that can be told without rows.
pub fn problems(params: &Params) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !params.weights.is_empty() {
        let counts = vec![1_000_000; params.weights.len()];
        problems.extend(Mix::new(&mixture(params), &counts, 0).err().map(|error| problem("", &error)));
        if params.shuffle {
            let problem = Problem::new(
                "shuffle",
                "a mixture has a random order of its own, in which each data set keeps its own",
            );
            problems.push(problem.with_help("curate once more with `shuffle`, or leave it out"));
        }
    }
    if let Some(parts) = &params.split {
        problems.extend(Split::new(parts.clone(), 0).err().map(|error| problem("split.", &error)));
        for part in parts.parts.iter().filter(|part| !is_file_name(&part.name)) {
            problems.push(Problem::new("split.parts", format!("`{}` is no name of a file", part.name)));
        }
    }
    problems
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
}

fn mixture(params: &Params) -> Mixture {
    Mixture { weights: params.weights.clone(), amount: params.amount }
}

/// The rows of a data set that stay.
struct Kept {
    file: PathBuf,
    rows: u64,
    kept: u64,
}

/// Passes each data set through the steps, which see all of them as one: a duplicate may be in another data set.
fn keep(params: &Params, chain: &mut Chain, context: &mut Context) -> Result<Vec<Kept>, StageError> {
    let (mut sets, mut before) = (Vec::new(), 0);
    for (at, folder) in context.inputs("rows").to_vec().into_iter().enumerate() {
        let file = context.wip().join(format!("kept-{at}.jsonl"));
        let mut writer = jsonl::Writer::create(&file).map_err(StageError::failed)?;
        let (mut rows, mut kept) = (0, 0_u64);
        let numbered = Sources::new(split_in(&folder, "train")).map(|row| {
            let row = row?;
            rows = row.number;
            let row = PlacedRow { number: before + row.number, ..row };
            match &params.layout {
                Some(name) => layout::read(name, row),
                None => Ok(row),
            }
        });
        let written = chain.run(numbered, |row| {
            kept += 1;
            writer.write(&row.row)?;
            if kept.is_multiple_of(REPORTED) {
                context.progress(before + row.number, before + row.number, "rows", &[]);
            }
            if context.cancelled() { Err(Stopped(StageError::Cancelled)) } else { Ok(()) }
        });
        written.map_err(|Stopped(error)| error)?;
        writer.finish().map_err(StageError::failed)?;
        before += rows;
        sets.push(Kept { file, rows, kept });
    }
    if before == 0 {
        return Err(StageError::failed("there is no row in the split `train` of the input `rows`"));
    }
    Ok(sets)
}

/// Why a stream of rows ends before its end.
struct Stopped(StageError);

impl From<DataError> for Stopped {
    fn from(error: DataError) -> Stopped {
        Stopped(StageError::failed(error))
    }
}

/// One data set after the other, or all rows in a random order.
fn ordered(
    params: &Params,
    files: Vec<Vec<PathBuf>>,
    seed: u64,
) -> Result<Box<dyn Iterator<Item = Result<PlacedRow, DataError>>>, StageError> {
    let files: Vec<PathBuf> = files.into_iter().flatten().collect();
    Ok(match params.shuffle {
        true => Box::new(shuffle(&files, seed).map_err(StageError::failed)?),
        false => Box::new(Sources::new(files)),
    })
}

/// The parts that are being written.
struct Written {
    split: Split,
    writers: Vec<rows::Writer>,
}

impl Written {
    fn create(params: &Params, context: &Context) -> Result<Written, StageError> {
        let parts = parts(params);
        let split = Split::new(parts.clone(), context.seed).map_err(StageError::failed)?;
        let folder = context.output("dataset")?;
        let writer =
            |part: &Part| rows::Writer::create(&folder.join(format!("{}.{}", part.name, params.format.ending())));
        let writers = parts.parts.iter().map(writer).collect::<Result<_, _>>().map_err(StageError::failed)?;
        Ok(Written { split, writers })
    }

    fn take(&mut self, rows: impl Iterator<Item = Result<PlacedRow, DataError>>) -> Result<(), StageError> {
        for row in rows {
            let row = row.map_err(StageError::failed)?;
            let part = self.split.part(&row).map_err(StageError::failed)?;
            self.writers[part].write(&row.row).map_err(StageError::failed)?;
        }
        Ok(())
    }

    /// How many rows each part has.
    fn finish(self, params: &Params) -> Result<BTreeMap<String, usize>, StageError> {
        let names = parts(params).parts.into_iter().map(|part| part.name);
        let counts = self.writers.into_iter().map(rows::Writer::finish).collect::<Result<Vec<_>, _>>();
        let counts = counts.map_err(StageError::failed)?;
        Ok(names.zip(counts).collect())
    }
}

/// All rows in `train` where nothing is divided.
fn parts(params: &Params) -> Parts {
    let whole = || Parts { parts: vec![Part { name: "train".into(), share: 1.0 }], group: Vec::new() };
    params.split.clone().unwrap_or_else(whole)
}
