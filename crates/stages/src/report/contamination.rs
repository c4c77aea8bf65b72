//! What the gate between training data and benchmarks found, as `contamination` wrote it down.

use std::collections::BTreeSet;
use std::path::Path;

use gazal_stage_api::StageError;
use gazal_tasks::contamination::Hit;
use serde::Serialize;

use crate::contamination::Findings;

/// Leaks that a report lists.
const LISTED: usize = 20;

#[derive(Debug, Serialize)]
pub struct Contamination {
    /// Training rows that were read.
    pub rows: u64,
    /// Questions that were looked for.
    pub items: usize,
    /// Words of an n-gram.
    pub n: usize,
    /// Questions that stand in training data.
    pub leaked: usize,
    /// The first of them.
    pub listed: Vec<Hit>,
}

/// # Errors
/// A folder without its file, or a file that is none.
pub fn read(folder: &Path) -> Result<Contamination, StageError> {
    let path = folder.join(Findings::FILE);
    let text = std::fs::read(&path).map_err(StageError::io(&path))?;
    let wrong = |error| StageError::failed(format!("{}: {error}", path.display()));
    let Findings { rows, items, n, hits: mut listed, .. } = serde_json::from_slice(&text).map_err(wrong)?;
    let leaked = listed.iter().map(|hit| &hit.item).collect::<BTreeSet<_>>().len();
    listed.truncate(LISTED);
    Ok(Contamination { rows, items, n, leaked, listed })
}

impl Contamination {
    pub fn sentence(&self) -> String {
        let Contamination { rows, items, n, leaked, .. } = self;
        let found = match leaked {
            0 => "None of them stands there.".to_string(),
            1 => "One of them stands there: what is said of it is remembered, not found.".into(),
            _ => format!("{leaked} of them stand there: what is said of them is remembered, not found."),
        };
        format!(
            "{items} questions were looked for in {rows} training rows, by {n} words in a row and as wholes. {found}"
        )
    }
}
