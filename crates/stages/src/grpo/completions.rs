//! TRL's `log_completions`: what was asked, what the policy said, and what it got for it, as Parquet files.
//!
//! `completions/completions_00001.parquet` of the history has a row for each completion that the updates from step 1 on
//! learn from: `step`, `prompt`, `completion`, a column for each reward function by its name, null where it did not
//! judge, and `advantage`; texts are without special tokens. A departure from TRL: completions that several optimizer steps
//! learn from are in one file, that of the first step, and not in one for each.
//!
//! While the stage trains its files lie beside its checkpoints, each synced before the checkpoint after it is. After a
//! kill the steps behind the last checkpoint are gone through again and make the same files again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use gazal_data::parquet::{self, Column};
use gazal_lm::Tokenizer;
use gazal_stage_api::StageError;

use super::Params;
use super::rollout::Rollout;

/// The folder, in the work in progress and in the history.
const FOLDER: &str = "completions";

/// Columns that are there whatever the reward functions are; none of these may have such a name.
pub const COLUMNS: [&str; 4] = ["step", "prompt", "completion", "advantage"];

/// The files so far.
pub struct CompletionLog {
    folder: PathBuf,
}

impl CompletionLog {
    /// In the stage's folder for work in progress.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(wip: &Path) -> Result<CompletionLog, StageError> {
        let folder = wip.join(FOLDER);
        fs::create_dir_all(&folder).map_err(StageError::io(&folder))?;
        Ok(CompletionLog { folder })
    }

    /// Keeps the completions of a generation that is learnt from first in optimizer step `step`, counted from 1.
    ///
    /// # Errors
    /// Ids that are no text, and a file that cannot be written.
    pub fn add(&self, step: u64, params: &Params, rollout: &Rollout, tokenizer: &Tokenizer) -> Result<(), StageError> {
        let path = self.folder.join(format!("completions_{step:05}.parquet"));
        let temporary = path.with_extension("tmp");
        parquet::write(&temporary, &columns(step, params, rollout, tokenizer)?).map_err(StageError::failed)?;
        sync(&temporary)?;
        fs::rename(&temporary, &path).map_err(StageError::io(&path))?;
        sync(&self.folder)
    }

    /// Copies all files into the history. They are not moved: a kill in between would lose those that were.
    ///
    /// # Errors
    /// When one cannot be copied.
    pub fn publish(&self, history: &Path) -> Result<(), StageError> {
        let to = history.join(FOLDER);
        fs::create_dir_all(&to).map_err(StageError::io(&to))?;
        for path in gazal_data::rows::files_in(&self.folder).map_err(StageError::failed)? {
            let name = path.file_name().unwrap_or_default();
            fs::copy(&path, to.join(name)).map_err(StageError::io(&path))?;
        }
        Ok(())
    }
}

fn columns<'a>(
    step: u64,
    params: &'a Params,
    rollout: &Rollout,
    tokenizer: &Tokenizer,
) -> Result<Vec<(&'a str, Column)>, StageError> {
    let rows = rollout.completions.len();
    let decode = |ids: &[u32]| tokenizer.decode(ids).map_err(StageError::failed);
    let prompts = rollout.prompts.iter().map(|ids| decode(ids)).collect::<Result<Vec<String>, _>>()?;
    let prompts = (0..rows).map(|row| prompts[row / params.num_generations].clone()).collect();
    let completions = rollout.completions.iter().map(|one| decode(&one.ids)).collect::<Result<_, _>>()?;
    let step = i64::try_from(step).map_err(StageError::failed)?;
    let [first, second, third, last] = COLUMNS;
    let mut columns = vec![
        (first, Column::Integers(vec![step; rows])),
        (second, Column::Texts(prompts)),
        (third, Column::Texts(completions)),
    ];
    let rewards = params.reward_funcs.iter().zip(&rollout.rewards);
    columns.extend(rewards.map(|(function, rewards)| (function.name(), Column::Doubles(rewards.clone()))));
    columns.push((last, Column::Doubles(rollout.advantages.clone())));
    Ok(columns)
}

fn sync(path: &Path) -> Result<(), StageError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StageError::io(path))
}
