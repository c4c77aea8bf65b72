//! Where words go: results to standard output, progress and complaints to standard error. A closed pipe is no error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use gazal_spec::Severity;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};
use serde::Serialize;

use crate::failure::{Failure, Note, Text};

pub(crate) struct Out {
    pub json: bool,
    pub quiet: bool,
    /// Whether a person watches standard error.
    pub terminal: bool,
    color: bool,
}

impl Out {
    pub fn new(json: bool, quiet: bool) -> Out {
        let terminal = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out { json, quiet, terminal, color: terminal && !plain }
    }

    /// A line of a result.
    pub fn line(&mut self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stdout().lock(), "{text}");
        }
    }

    /// A result as one line of JSON; `--quiet` does not silence what was asked for as data.
    pub fn json_line(&mut self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            let mut output = io::stdout().lock();
            let _ = writeln!(output, "{text}").and_then(|()| output.flush());
        }
    }

    /// A JSON document for people and programs.
    pub fn value(&mut self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string_pretty(value) {
            let _ = writeln!(io::stdout().lock(), "{text}");
        }
    }

    pub fn failure(&mut self, failure: &Failure) {
        for note in &failure.notes {
            self.complain(note, failure.text.as_ref());
        }
    }

    /// A mistake or a warning, with the line that it is about.
    pub fn complain(&mut self, note: &Note, text: Option<&Text>) {
        if self.quiet && note.severity == Severity::Warning {
            return;
        }
        let _ = write!(io::stderr().lock(), "{}", render(note, text, self.color));
    }
}

fn render(note: &Note, text: Option<&Text>, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(110);
    let mut diagnostic = MietteDiagnostic::new(note.message.clone()).with_severity(match note.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    });
    if let Some(span) = &note.span {
        diagnostic = diagnostic.with_label(LabeledSpan::new(note.label.clone(), span.start, span.len()));
    }
    if let Some(help) = &note.help {
        diagnostic = diagnostic.with_help(help.clone());
    }
    let mut report = Report::new(diagnostic);
    if let Some(text) = text.filter(|_| note.span.is_some()) {
        report = report.with_source_code(NamedSource::new(&text.name, text.text.clone()));
    }
    let mut rendered = String::new();
    match handler.render_report(&mut rendered, report.as_ref()) {
        Ok(()) => rendered,
        Err(_) => format!("{}\n", note.message),
    }
}
