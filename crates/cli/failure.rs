//! What ends a command early: notes for a person, and an exit code for a program.

use std::ops::Range;
use std::process::ExitCode;

use gazal_engine::{EngineError, Mistake};
use gazal_spec::{Diagnostic, Place, Severity};
use gazal_store::StoreError;

/// The exit codes that users may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A stage failed.
    Failed = 1,
    /// The command line or the pipeline is wrong.
    Wrong = 2,
    /// The store is unusable, or damaged.
    Store = 3,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The text that notes point into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub name: String,
    pub text: String,
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub severity: Severity,
    pub message: String,
    /// Bytes of the text.
    pub span: Option<Range<usize>>,
    pub label: Option<String>,
    pub help: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub notes: Vec<Note>,
    pub text: Option<Text>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, notes: vec![Note::error(message)], text: None }
    }

    /// The command line is wrong.
    pub fn wrong(message: impl Into<String>, help: &str) -> Failure {
        let help = (!help.is_empty()).then(|| help.to_string());
        Failure { exit: Exit::Wrong, notes: vec![Note { help, ..Note::error(message) }], text: None }
    }

    pub fn diagnostics(found: Vec<Diagnostic>, text: Text) -> Failure {
        let notes = found.into_iter().map(Note::from).collect();
        Failure { exit: Exit::Wrong, notes, text: Some(text) }
    }

    pub fn engine(error: EngineError, text: &Text) -> Failure {
        let exit = match &error {
            EngineError::Wrong(_) | EngineError::Stale(_) => Exit::Wrong,
            EngineError::Store(error) if is_request(error) => Exit::Wrong,
            error if error.is_unusable_store() => Exit::Store,
            _ => Exit::Failed,
        };
        match error {
            EngineError::Wrong(mistakes) => {
                let notes = mistakes.into_iter().map(|mistake| Note::mistake(mistake, Severity::Error, text)).collect();
                Failure { exit, notes, text: Some(text.clone()) }
            }
            error => Failure::new(exit, error.to_string()),
        }
    }
}

/// Whether what was asked of the store cannot be, as opposed to a store that is at fault.
fn is_request(error: &StoreError) -> bool {
    use StoreError::{Bundle, NoReceipt, NoRun, Pinned, Remote, Trust};
    matches!(error, NoRun { .. } | NoReceipt { .. } | Pinned { .. } | Bundle { .. } | Remote { .. } | Trust { .. })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::engine(error.into(), &Text::default())
    }
}

impl Note {
    pub fn error(message: impl Into<String>) -> Note {
        Note { severity: Severity::Error, message: message.into(), span: None, label: None, help: None }
    }

    pub fn warning(message: impl Into<String>) -> Note {
        Note { severity: Severity::Warning, ..Note::error(message) }
    }

    pub fn mistake(mistake: Mistake, severity: Severity, text: &Text) -> Note {
        let span = mistake.place.and_then(|place| span_at(&text.text, &place));
        let message = format!("stage `{}`: {}", mistake.stage, mistake.message);
        Note { severity, message, span, label: None, help: mistake.help }
    }
}

impl From<Diagnostic> for Note {
    fn from(found: Diagnostic) -> Note {
        let message = match &found.argument {
            Some(argument) => format!("{} (command line: `{argument}`)", found.message),
            None => found.message,
        };
        Note { severity: found.severity, message, span: found.span, label: found.label, help: found.help }
    }
}

/// The rest of the line at a place.
fn span_at(text: &str, place: &Place) -> Option<Range<usize>> {
    let start: usize = text.split_inclusive('\n').take(place.line.checked_sub(1)?).map(str::len).sum();
    let line = text.get(start..)?.lines().next()?;
    let column = line.char_indices().nth(place.column.checked_sub(1)?).map_or(line.len(), |(at, _)| at);
    Some(start + column..start + line.trim_end().len().max(column))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_place_is_the_rest_of_its_line() {
        let text = "[a]\nä = 1 \n";
        let place = Place { file: "p.toml".into(), line: 2, column: 5 };
        assert_eq!(&text[span_at(text, &place).unwrap()], "1");
        assert_eq!(span_at(text, &Place { line: 9, ..place }), None);
    }
}
