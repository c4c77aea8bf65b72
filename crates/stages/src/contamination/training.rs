//! The training texts of a run, one row at a time.

use std::path::{Path, PathBuf};

use gazal_data::rows;
use gazal_stage_api::{Context, StageError};
use gazal_tasks::Item;
use gazal_tasks::contamination::{Detector, Hit};
use serde::Deserialize;

/// A row of any of the data sets that stages train on.
#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    text: Option<String>,
    prompt: Option<String>,
    completion: Option<String>,
    item: Option<Item>,
}

impl Row {
    /// All that a model may learn from this row; nothing if it is in no known layout.
    fn text(&self) -> Option<String> {
        let item = self.item.as_ref().map(Item::user_turn);
        let parts = [self.text.as_deref(), self.prompt.as_deref(), self.completion.as_deref(), item.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n"))
    }

    fn id(&self) -> Option<&str> {
        self.id.as_deref().or(self.item.as_ref().map(|item| item.id.as_str()))
    }
}

/// Rows between two reports of progress.
const REPORTED: u64 = 1000;

/// Checks every row of the input `training`; how many there are, and the leaks in them.
pub fn search(detector: &Detector, context: &mut Context) -> Result<(u64, Vec<Hit>), StageError> {
    let (mut rows, mut hits) = (0_u64, Vec::new());
    for (folder, path) in files(context.inputs("training"))? {
        let mut reader = rows::read::<Row>(&path).map_err(StageError::failed)?;
        while let Some(row) = reader.next() {
            let row = row.map_err(StageError::failed)?;
            let text = row.text().ok_or_else(|| unknown(&path, reader.line()))?;
            hits.extend(detector.check(&place(folder, &path, reader.line(), row.id()), &text));
            rows += 1;
            if rows.is_multiple_of(REPORTED) {
                context.progress(rows, rows, "rows", &[("hits", hits.len() as f64)]);
                if context.cancelled() {
                    return Err(StageError::Cancelled);
                }
            }
        }
    }
    if rows == 0 {
        return Err(StageError::failed("there is no training row in the input `training`: nothing was checked"));
    }
    context.progress(rows, rows, "rows", &[("hits", hits.len() as f64)]);
    Ok((rows, hits))
}

/// The row files of all folders, each with its folder's number in the pipeline's list.
fn files(folders: &[PathBuf]) -> Result<Vec<(usize, PathBuf)>, StageError> {
    let mut files = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        let found = rows::files_in(folder).map_err(StageError::failed)?;
        files.extend(found.into_iter().map(|path| (index + 1, path)));
    }
    Ok(files)
}

/// Where a row stands. The folder's path is no part of it: it changes from machine to machine.
fn place(folder: usize, path: &Path, line: usize, id: Option<&str>) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let id = id.map(|id| format!(" ({id})")).unwrap_or_default();
    format!("training input {folder}, {file}:{line}{id}")
}

fn unknown(path: &Path, line: usize) -> StageError {
    let place = format!("{}:{line}", path.display());
    StageError::failed(format!("{place}: neither `text` nor `prompt` is in this row, so it cannot be checked"))
}
