//! `check`: every mistake and warning, without running anything.

use gazal_spec::Severity;

use crate::App;
use crate::args::{Args, Which};
use crate::failure::{Exit, Failure, Note};
use crate::out::Out;
use crate::run::warn;
use crate::workspace::Workspace;

pub(crate) fn check(app: &App, args: &Args, which: &Which, out: &mut Out) -> Result<Exit, Failure> {
    let workspace = Workspace::open(app, args, which)?;
    warn(&workspace, out);
    let store = workspace.open_store(args)?;
    let findings = workspace.with_options(store, &[], |options| gazal_engine::check(&workspace.pipeline, options))?;
    for warning in findings.warnings {
        let note = Note::mistake(warning, Severity::Warning, &workspace.text);
        out.complain(&note, Some(&workspace.text));
    }
    if !findings.mistakes.is_empty() {
        return Err(workspace.failure(gazal_engine::EngineError::Wrong(findings.mistakes)));
    }
    let (name, count) = (&workspace.pipeline.name, workspace.pipeline.stages.len());
    if out.json {
        out.json_line(&serde_json::json!({"pipeline": name, "stages": count}));
    } else {
        out.line(format!("{name}: {count} stages, no mistakes"));
    }
    Ok(Exit::Done)
}
