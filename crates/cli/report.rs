//! The page of a run, at its end or when it is asked for; and the reports among a run's results.

use std::fs;
use std::path::{Path, PathBuf};

use gazal_engine::{EngineError, Summary, read_header};
use gazal_spec::{Pipeline, Stage};
use gazal_stage_api::PortType;
use gazal_store::{Output, RunDir, Store};

use crate::args::{Args, ReportArgs};
use crate::failure::{Exit, Failure, Note, Text};
use crate::out::Out;
use crate::page;
use crate::run::Endings;
use crate::workspace::{Workspace, open_store};

/// The page in a run's folder.
const PAGE: &str = "report.html";

/// `report`: writes the page of a run, from what lies in its folder and in the store; of one that goes on, too.
pub(crate) fn report(args: &Args, verb: &ReportArgs, out: &mut Out) -> Result<Exit, Failure> {
    let store = alone(&open_store(args)?)?;
    let dir = which(&store, verb)?;
    let path = verb.out.clone().unwrap_or_else(|| dir.file(PAGE));
    write(&store, &dir, &path).map_err(|error| Failure::engine(error, &Text::default()))?;
    if out.json {
        out.json_line(&serde_json::json!({"run": dir.id(), "report": path}));
    } else {
        out.line(path.display());
    }
    Ok(Exit::Done)
}

/// After a run that had something to do: writes its page into its folder. That it cannot be written is said, and is no
/// failure of the run. A run with nothing to do has no time for one.
pub(crate) fn after(store: &Store, summary: &Summary, out: &mut Out) -> Option<PathBuf> {
    if summary.is_all_hits() {
        return None;
    }
    let written = alone(store).map_err(EngineError::from).and_then(|store| {
        let dir = store.run(&summary.run)?;
        let path = dir.file(PAGE);
        write(&store, &dir, &path).map(|()| path)
    });
    written
        .map_err(|error| out.complain(&Note::warning(format!("the run's report was not written: {error}")), None))
        .ok()
}

/// The same store without its remote: a page fetches nothing.
fn alone(store: &Store) -> Result<Store, gazal_store::StoreError> {
    Store::open(store.root())
}

/// Nobody sees half a page.
fn write(store: &Store, dir: &RunDir, path: &Path) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io { path: path.to_path_buf(), source };
    let beside = path.parent().is_some_and(|folder| fs::canonicalize(folder).ok() == fs::canonicalize(dir.path()).ok());
    let text = page::render(store, dir, beside)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed(error)
    })
}

/// The run that is meant: the named one, else the latest of the pipeline file.
fn which(store: &Store, verb: &ReportArgs) -> Result<RunDir, Failure> {
    let help = "gazal-pipe report FILE, or --run ID; gazal-pipe runs ls lists them";
    let Some(file) = &verb.file else {
        let id = verb.run.as_deref().ok_or_else(|| Failure::wrong("no pipeline file and no run is named", help))?;
        return Ok(store.run(id)?);
    };
    let found = fs::canonicalize(file);
    let found = found
        .map_err(|error| Failure::wrong(format!("cannot find the pipeline `{}`: {error}", file.display()), help))?;
    let is_of = |dir: &RunDir| read_header(dir).is_ok_and(|header| header.file == found);
    match verb.run.as_deref().filter(|id| *id != "last") {
        Some(id) => {
            let dir = store.run(id)?;
            let strange =
                || Failure::wrong(format!("run {} is of another pipeline than `{}`", dir.id(), file.display()), help);
            if is_of(&dir) { Ok(dir) } else { Err(strange()) }
        }
        None => {
            let last = store.runs()?.into_iter().rev().find(is_of);
            last.ok_or_else(|| Failure::wrong(format!("`{}` has not run yet", file.display()), "gazal-pipe run FILE"))
        }
    }
}

/// The stages that make a report.
pub(crate) fn stages(pipeline: &Pipeline) -> impl Iterator<Item = &Stage> {
    let makes_one = |stage: &&Stage| stage.outputs.iter().any(|port| port.kind == PortType::Report);
    pipeline.stages.iter().map(Box::as_ref).filter(makes_one)
}

/// Prints every report's text, and says where its page lies.
pub(crate) fn tell(workspace: &Workspace, store: &Store, ended: &Endings, out: &mut Out) {
    for stage in stages(&workspace.pipeline) {
        let Some(ended) = ended.of(&stage.name) else { continue };
        let receipt = ended.key.filter(|_| ended.state.is_success()).and_then(|key| store.receipt(&key).ok().flatten());
        let outputs = receipt.into_iter().flat_map(|receipt| receipt.outputs.into_values());
        outputs.filter(|output| output.kind == PortType::Report.name()).for_each(|output| show(store, &output, out));
    }
}

fn show(store: &Store, output: &Output, out: &mut Out) {
    let Ok(folder) = store.view(&output.artifact) else { return };
    if let Ok(text) = fs::read_to_string(folder.join("report.txt")) {
        out.line(format!("\n{}", text.trim_end()));
    }
    let page = folder.join("report.html");
    if page.exists() {
        out.line(format!("\nreport: {}", page.display()));
    }
}
