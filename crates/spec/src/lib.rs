//! Pipeline text to a checked [`Pipeline`], or every mistake at once, each with its place.
//!
//! The way of a file, one module a step: `raw` reads TOML into a tree that knows its places, `keys` refuses
//! unknown keys, `merge` applies profiles and the command line, `substitute` replaces `${…}`, `matrix`
//! expands, `stage` and `params` check one stage, `wire` connects them and `order` sorts them. A mistake
//! stops only what depends on it, so that one reading finds them all.
//!
//! This crate does no I/O and prints nothing.

mod check;
mod condition;
mod diagnostic;
mod executor;
mod keys;
mod matrix;
mod merge;
mod order;
mod params;
mod pieces;
mod pipeline;
mod places;
mod policy;
mod raw;
mod reference;
mod schema;
mod select;
mod settings;
mod shared;
mod source;
mod stage;
mod substitute;
mod suggest;
mod wire;

#[cfg(test)]
mod tests;

use gazal_stage_api::Kinds;

pub use condition::{Bound, Comparison, Condition, Metric};
pub use diagnostic::{Diagnostic, Severity};
pub use executor::{Executor, SlurmOptions};
pub use merge::Overrides;
pub use pipeline::{Input, OutputRef, Pipeline, Stage};
pub use places::Places;
pub use policy::{Policy, parse_duration};
pub use schema::schema;
pub use select::{Selected, Wanted};
pub use settings::{BackendChoice, Needs, parse_bytes};
pub use source::{Place, Source};

use diagnostic::Report;

/// Reads, merges and checks a pipeline file.
///
/// # Errors
/// All mistakes, and warnings among them, in the order of the file; those of the command line last.
pub fn load(source: &Source, overrides: &Overrides, kinds: &Kinds) -> Result<Pipeline, Vec<Diagnostic>> {
    let mut report = Report::default();
    let pipeline = read(source, overrides, kinds, &mut report);
    let found = report.finish();
    match pipeline {
        Some(pipeline) if found.iter().all(|one| one.severity == Severity::Warning) => {
            Ok(Pipeline { warnings: found, ..pipeline })
        }
        _ => Err(found),
    }
}

fn read(source: &Source, overrides: &Overrides, kinds: &Kinds, report: &mut Report) -> Option<Pipeline> {
    let file = raw::parse(source.text, report)?;
    keys::check_file(&file, kinds, report);
    let used = check::used_params(&file);
    let merged = merge::apply(file, overrides, kinds, report);
    check::warn_unused(&used, &merged, report);
    check::check(source, merged, kinds, report)
}
