//! The trainings of a study: their histories, and the samples of their tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gazal_data::rows;
use gazal_stage_api::StageError;
use gazal_tasks::stats::Score;

use super::measure::Curves;
use super::raw::{FILE, Stamp, State};
use crate::eval::Sample;

/// One training by `train-classifier`.
pub struct Training {
    pub label: String,
    /// The seed, say: trainings of one group are paired.
    pub group: String,
    pub optim: String,
    pub learning_rate: f64,
    pub curves: Curves,
    /// Of each test image whether it was told right.
    pub scores: Vec<Score>,
}

/// Every history with its samples, in the order of the histories.
///
/// # Errors
/// Files that are missing or in another layout, samples without a history or the other way round, and two trainings of
/// one label and group.
pub fn read(histories: &[PathBuf], samples: &[PathBuf]) -> Result<Vec<Training>, StageError> {
    let mut scores = scores(samples)?;
    let mut trainings: Vec<Training> = Vec::new();
    for folder in histories {
        let training = training(folder, &mut scores)?;
        if trainings.iter().any(|other| (&other.label, &other.group) == (&training.label, &training.group)) {
            return Err(twice(&training));
        }
        trainings.push(training);
    }
    match scores.keys().next() {
        Some((label, group)) => {
            Err(StageError::failed(format!("there are samples of `{label}`, group `{group}`, and no history of it")))
        }
        None => Ok(trainings),
    }
}

fn twice(training: &Training) -> StageError {
    StageError::failed(format!(
        "there are two trainings of `{}` in the group `{}`: give them other labels or groups",
        training.label, training.group
    ))
}

/// By label and group.
type Scores = BTreeMap<(String, String), Vec<Score>>;

fn scores(folders: &[PathBuf]) -> Result<Scores, StageError> {
    let mut scores = Scores::new();
    for folder in folders {
        for path in rows::files_in(folder).map_err(StageError::failed)? {
            for sample in rows::read_all::<Sample>(&path).map_err(StageError::failed)? {
                let score =
                    Score { id: sample.id, cluster: sample.cluster, value: f64::from(u8::from(sample.correct)) };
                scores.entry((sample.label, sample.group)).or_default().push(score);
            }
        }
    }
    Ok(scores)
}

fn training(folder: &Path, scores: &mut Scores) -> Result<Training, StageError> {
    let path = folder.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(StageError::io(&path))?;
    let wrong =
        |error| StageError::failed(format!("{}: {error}; connect histories of `train-classifier`", path.display()));
    let State { log_history, stateful_callbacks } = serde_json::from_str(&text).map_err(wrong)?;
    let Stamp { label, group, optim, learning_rate } = stateful_callbacks.classifier;
    let missing =
        || StageError::failed(format!("there is a history of `{label}`, group `{group}`, and no sample of it"));
    let scores = scores.remove(&(label.clone(), group.clone())).ok_or_else(missing)?;
    let right: f64 = scores.iter().map(|score| score.value).sum();
    let curves = Curves {
        loss: log_history.iter().map(|entry| entry.loss).collect(),
        accuracy: log_history.iter().map(|entry| entry.accuracy).collect(),
        eval_accuracy: log_history.iter().map(|entry| entry.eval_accuracy).collect(),
        test_accuracy: Some(right / scores.len() as f64),
    };
    Ok(Training { label, group, optim, learning_rate, curves, scores })
}
