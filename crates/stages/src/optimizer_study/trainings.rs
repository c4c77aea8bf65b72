//! The trainings of a study: their histories, and the samples of their tests.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use gazal_data::rows;
use gazal_stage_api::StageError;
use gazal_tasks::stats::Score;

use super::measure::{Curves, Sort};
use super::raw::{Callbacks, Epoch, Evaluation, FILE, Stamp, State};
use crate::eval::Sample;

/// One training by `train-classifier` or by `train-character-model`.
pub struct Training {
    pub sort: Sort,
    pub label: String,
    /// The seed, say: trainings of one group are paired.
    pub group: String,
    pub optim: String,
    pub learning_rate: f64,
    pub curves: Curves,
    /// Of each test image whether it was told right; nothing of text.
    pub scores: Vec<Score>,
}

/// Every history with its samples, in the order of the histories.
///
/// # Errors
/// Files that are missing or in another layout, samples without a history or the other way round, two trainings of one
/// label and group, and images and text together.
pub fn read(histories: &[PathBuf], samples: &[PathBuf]) -> Result<Vec<Training>, StageError> {
    let mut scores = scores(samples)?;
    let mut trainings: Vec<Training> = Vec::new();
    for folder in histories {
        let training = training(folder, &mut scores)?;
        if trainings.first().is_some_and(|first| first.sort != training.sort) {
            let text = "there are histories of images and of text: give each a report of its own";
            return Err(StageError::failed(text));
        }
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
    let wrong = |what: &dyn Display| {
        let help = "connect histories of `train-classifier`, or of `train-character-model`";
        StageError::failed(format!("{}: {what}; {help}", path.display()))
    };
    let state: State = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let (sort, stamp) = match state.stateful_callbacks {
        Callbacks { classifier: Some(stamp), character_model: None } => (Sort::Images, stamp),
        Callbacks { classifier: None, character_model: Some(stamp) } => (Sort::Text, stamp),
        _ => return Err(wrong(&"it does not say which of the two it is of")),
    };
    let curves = match sort {
        Sort::Images => serde_json::from_value(state.log_history).map(|log: Vec<Epoch>| of_images(&log)),
        Sort::Text => serde_json::from_value(state.log_history).map(|log: Vec<Evaluation>| of_text(&log)),
    };
    let (mut curves, Stamp { label, group, optim, learning_rate }) = (curves.map_err(|error| wrong(&error))?, stamp);
    let scores = match sort {
        Sort::Images => scores.remove(&(label.clone(), group.clone())).ok_or_else(|| {
            StageError::failed(format!("there is a history of `{label}`, group `{group}`, and no sample of it"))
        })?,
        Sort::Text => Vec::new(),
    };
    let right: f64 = scores.iter().map(|score| score.value).sum();
    curves.test_accuracy = (!scores.is_empty()).then(|| right / scores.len() as f64);
    Ok(Training { sort, label, group, optim, learning_rate, curves, scores })
}

fn of_images(log: &[Epoch]) -> Curves {
    Curves {
        loss: log.iter().map(|epoch| epoch.loss).collect(),
        accuracy: log.iter().map(|epoch| epoch.accuracy).collect(),
        eval_accuracy: log.iter().map(|epoch| epoch.eval_accuracy).collect(),
        ..Curves::default()
    }
}

fn of_text(log: &[Evaluation]) -> Curves {
    Curves {
        loss: log.iter().map(|evaluation| evaluation.eval_train_loss).collect(),
        eval_loss: log.iter().map(|evaluation| evaluation.eval_loss).collect(),
        steps: log.iter().map(|evaluation| evaluation.step).collect(),
        ..Curves::default()
    }
}
