//! The two kinds that let anything in: the user's own files, and any program.

mod exec;
mod source;

use gazal_stage_api::{DynKind, Kind};

pub use exec::{Exec, ExecParams, undeclared_files};
pub use source::{Source, SourceParams};

/// What every binary has, before its own kinds.
pub fn builtin() -> Vec<&'static dyn DynKind> {
    vec![&Source, &Exec]
}

/// The kind whose workers start processes.
pub(crate) const EXEC: &str = Exec::NAME;
