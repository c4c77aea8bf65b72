//! Rewards of a step's completions: each function on each completion, NaN where one could not judge.

use std::fs;
use std::path::{Path, PathBuf};

use gazal_stage_api::{Context, Program, StageError};
use gazal_tasks::Completion;
use gazal_tasks::rewards::Reward;
use serde::Deserialize;
use serde_json::json;

use super::judge::Judge;
use super::rewards::{Asked, ExecReward, RewardParams, SOURCES};
use crate::rows::Question;

/// A completion with the row that it completes.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    pub question: &'a Question,
    pub completion: Completion<'a>,
}

/// The reward functions of a stage, ready to be asked.
pub struct Scorer {
    functions: Vec<Function>,
}

enum Function {
    Checked(Reward),
    Exec(Exec),
    Judge(Box<Judge>),
}

impl Scorer {
    /// # Errors
    /// A judge without an address or a key, and a source outside of the pipeline's folder.
    pub fn open(rewards: &[RewardParams], context: &Context) -> Result<Scorer, StageError> {
        let open = |(at, reward): (usize, &RewardParams)| {
            Ok(match reward {
                RewardParams::Checked(reward) => Function::Checked(reward.clone()),
                RewardParams::Asked(Asked::Exec(params)) => Function::Exec(Exec::open(params, at, context)?),
                RewardParams::Asked(Asked::Judge(params)) => {
                    Function::Judge(Box::new(Judge::open(params, reward.name(), at, context)?))
                }
            })
        };
        Ok(Scorer { functions: rewards.iter().enumerate().map(open).collect::<Result<_, StageError>>()? })
    }

    /// The rewards, by function, then by row.
    ///
    /// # Errors
    /// [`StageError::Cancelled`], a program that fails, and a judge that cannot be asked at all.
    pub fn score(&self, rows: &[Scored], context: &mut Context) -> Result<Vec<Vec<f64>>, StageError> {
        let score = |function: &Function| match function {
            Function::Checked(reward) => Ok(rows.iter().map(|row| check(reward, row)).collect()),
            Function::Exec(exec) => exec.score(rows, context),
            Function::Judge(judge) => judge.score(rows, context),
        };
        self.functions.iter().map(score).collect()
    }
}

fn check(reward: &Reward, row: &Scored) -> f64 {
    reward.func.score(&row.completion, &row.question.item).unwrap_or(f64::NAN)
}

/// A program that rewards.
struct Exec {
    params: ExecReward,
    name: String,
    /// Where it runs; made anew for each step, so that a step does not depend on those before it.
    folder: PathBuf,
    /// The files that it consists of, with their places in `folder`.
    sources: Vec<(PathBuf, PathBuf)>,
}

/// A line of a program's output.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Null where the program could not judge; but it must be said.
    #[serde(deserialize_with = "Option::deserialize")]
    reward: Option<f64>,
}

impl Exec {
    fn open(params: &ExecReward, at: usize, context: &Context) -> Result<Exec, StageError> {
        let base = &context.folders.base;
        let placed = |path: &PathBuf| {
            let below = path.strip_prefix(base).ok().filter(|below| !below.starts_with(".."));
            let below = below.ok_or_else(|| {
                let message = format!("`{}` lies outside of the pipeline's folder", path.display());
                StageError::Params(SOURCES.into(), message)
            })?;
            Ok((path.clone(), below.to_path_buf()))
        };
        // Together with those of other programs of the stage: the key has them all as well.
        let all = if params.sources.is_empty() { &[] } else { context.paths(SOURCES) };
        let sources = all.iter().map(placed).collect::<Result<_, StageError>>()?;
        let name = params.label.clone().unwrap_or_else(|| "exec".into());
        Ok(Exec { params: params.clone(), name, folder: context.wip().join(format!("reward-{at}")), sources })
    }

    fn score(&self, rows: &[Scored], context: &Context) -> Result<Vec<f64>, StageError> {
        self.lay_out()?;
        let program = Program {
            command: self.params.command.clone(),
            folder: self.folder.clone(),
            env: self.params.env.clone(),
            input: rows.iter().map(|row| format!("{}\n", line(row))).collect::<String>().into_bytes(),
            seconds: self.params.timeout,
        };
        let output = context.run_program(&program).map_err(|error| match error {
            StageError::Failed(what) => self.failed(&what),
            error => error,
        })?;
        self.read(&String::from_utf8_lossy(&output), rows.len())
    }

    fn lay_out(&self) -> Result<(), StageError> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(StageError::io(&self.folder))?;
        }
        fs::create_dir_all(&self.folder).map_err(StageError::io(&self.folder))?;
        self.sources
            .iter()
            .try_for_each(|(from, below)| copy(from, &self.folder.join(below)).map_err(StageError::io(from)))
    }

    fn read(&self, output: &str, expected: usize) -> Result<Vec<f64>, StageError> {
        let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.len() != expected {
            return Err(self.failed(&format!("it wrote {} lines for {expected} completions", lines.len())));
        }
        let read = |(at, line): (usize, &&str)| {
            let wrong = |error| self.failed(&format!("line {} is no {{\"reward\": number or null}}: {error}", at + 1));
            serde_json::from_str::<Line>(line).map_err(wrong).map(|line| line.reward.unwrap_or(f64::NAN))
        };
        lines.iter().enumerate().map(read).collect()
    }

    fn failed(&self, what: &str) -> StageError {
        StageError::failed(format!("reward `{}`: {what}", self.name))
    }
}

/// Copies a file or a folder, with the folders around it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        return fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))
        });
    }
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::copy(from, to).map(drop)
}

/// What a program is told of a completion.
fn line(row: &Scored) -> serde_json::Value {
    let mut line = row.question.columns.clone();
    line.insert("item".into(), json!(row.question.item));
    line.insert("prompt".into(), json!(row.question.prompt));
    line.insert("completion".into(), json!(row.completion.text));
    line.insert("completion_length".into(), json!(row.completion.ids.len()));
    line.insert("finished".into(), json!(row.completion.finished));
    line.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(output: &str) -> Result<Vec<f64>, String> {
        let params = serde_json::from_value(json!({ "command": ["x"] })).unwrap();
        let exec = Exec { params, name: "mine".into(), folder: PathBuf::new(), sources: Vec::new() };
        exec.read(output, 2).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_for_each_completion_and_null_is_missing() {
        let rewards = read("{\"reward\": 0.5}\n\n{\"reward\": null}\n").unwrap();
        assert!(rewards[0] == 0.5 && rewards[1].is_nan());
        assert_eq!(read("{\"reward\": 1}").unwrap_err(), "reward `mine`: it wrote 1 lines for 2 completions");
        for wrong in ["{}", "{\"reward\": \"1\"}", "1", "{\"reward\": 1, \"score\": 1}"] {
            let error = read(&format!("{{\"reward\": 1}}\n{wrong}\n")).unwrap_err();
            assert!(error.contains("line 2 is no {\"reward\": number or null}"), "{error}");
        }
    }
}
