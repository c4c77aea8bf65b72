//! `fetch-model` and `fetch-dataset`: what the hub has, by its id. A revision that moves is resolved to a commit before
//! the stage is keyed ([`Kind::pins`](gazal_stage_api::Kind::pins)); files come in through the stage's checkpoint
//! folder, so that a run that was stopped goes on where it was.

mod dataset;
mod list;
mod model;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use gazal_net::{Hub, HubError, Listener, RemoteFile, Repo, RepoKind, is_commit};
use gazal_stage_api::{Context, Event, Pin, Problem, StageError};
use glob::{MatchOptions, Pattern};

pub use dataset::FetchDataset;
pub use model::FetchModel;

/// As the hub's own clients match names: `*` crosses folders.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: false, require_literal_leading_dot: false };

/// A repository as pins and manifests name it: `models/OWNER/NAME`.
fn pin(repo: &Repo, revision: &str) -> Pin {
    let kind = match repo.kind {
        RepoKind::Model => "models",
        RepoKind::Dataset => "datasets",
    };
    Pin { what: format!("{kind}/{}", repo.id), revision: revision.into() }
}

/// Resolves a pin of one of these kinds: its commit. `None` for pins that are none of theirs.
///
/// # Errors
/// What the hub says, with what to do.
pub fn resolve(pin: &Pin) -> Option<Result<String, String>> {
    let repo = match pin.what.split_once('/') {
        Some(("models", id)) => Repo { kind: RepoKind::Model, id: id.into() },
        Some(("datasets", id)) => Repo { kind: RepoKind::Dataset, id: id.into() },
        _ => return None,
    };
    if is_commit(&pin.revision) {
        return Some(Ok(pin.revision.clone()));
    }
    Some(Hub::from_env().and_then(|hub| hub.resolve(&repo, &pin.revision)).map_err(|error| error.to_string()))
}

/// Fetches the wanted files of a repository at the commit that it is pinned to; their places, by name.
fn fetch(
    repo: &Repo,
    wanted: impl Fn(&[RemoteFile]) -> Result<Vec<RemoteFile>, StageError>,
    context: &mut Context,
) -> Result<Vec<(String, PathBuf)>, StageError> {
    let commit = context.pinned(&pin(repo, "").what)?.to_string();
    let folder = context.folders.wip.join(repo.id.replace('/', "--"));
    let hub = Hub::from_env().map_err(failed)?;
    let files = wanted(&hub.files(repo, &commit).map_err(failed)?)?;
    let total: u64 = files.iter().filter_map(|file| file.size).sum();
    let context = RefCell::new(context);
    let mut done = 0;
    let mut places = Vec::new();
    for file in &files {
        let to = folder.join(&file.name);
        let before = done;
        let mut heard = |bytes| {
            done += bytes;
            context.borrow_mut().report(Event::Progress { done, total, unit: "bytes".into(), metrics: [].into() });
        };
        let cancelled = || context.borrow().cancelled();
        hub.fetch((repo, &commit), file, &to, &mut Listener { heard: &mut heard, cancelled: &cancelled })
            .map_err(failed)?;
        // Parts that were there already, and files that were fetched twice, make the count another one.
        done = before + file.size.unwrap_or(done - before);
        places.push((file.name.clone(), to));
    }
    Ok(places)
}

fn failed(error: HubError) -> StageError {
    match error {
        HubError::Cancelled => StageError::Cancelled,
        error => StageError::failed(error),
    }
}

/// Puts a fetched file into an output without a second copy of its bytes; it stays in the checkpoint folder until the
/// stage is done.
fn place(from: &Path, to: &Path) -> Result<(), StageError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(StageError::io(folder))?;
    }
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).map_err(StageError::io(to))
}

fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().filter_map(|pattern| Pattern::new(pattern).ok()).any(|pattern| pattern.matches_with(name, MATCHING))
}

fn wrong_patterns(field: &str, patterns: &[String]) -> Vec<Problem> {
    let wrong = patterns.iter().filter_map(|pattern| Some((pattern, Pattern::new(pattern).err()?)));
    wrong.map(|(pattern, error)| Problem::new(field, format!("`{pattern}` is no pattern: {error}"))).collect()
}

fn wrong_ids(field: &str, ids: &[String]) -> Vec<Problem> {
    let is_id = |id: &str| id.split('/').count() == 2 && id.split('/').all(|part| !part.is_empty() && part != "..");
    let help = "write it as `owner/name`; a folder of this machine is a stage of the kind `source`";
    let wrong = ids.iter().filter(|id| !is_id(id));
    let mut problems: Vec<Problem> =
        wrong.map(|id| Problem::new(field, format!("`{id}` is no hub id")).with_help(help)).collect();
    if ids.is_empty() {
        problems.push(Problem::new(field, "must name at least one id"));
    }
    problems
}

fn main_branch() -> String {
    "main".into()
}
