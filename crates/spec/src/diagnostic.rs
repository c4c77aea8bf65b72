//! One mistake, told so that a person can mend it: what, where, and what to do.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::Source;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Where something was written: 16 bytes, for a large file has millions of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the pipeline file, as byte offsets.
    File { start: u32, end: u32 },
    /// On the command line: the argument as it was typed.
    Argument(Arc<String>),
    /// Nowhere in particular, e.g. something that is missing from the file.
    Nowhere,
}

impl Origin {
    /// In a file that is no longer than [`Origin::FURTHEST`].
    pub fn file(span: Range<usize>) -> Origin {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Origin::File { start: offset(span.start), end: offset(span.end) }
    }

    /// The longest text that offsets reach.
    pub const FURTHEST: usize = u32::MAX as usize;

    pub fn argument(text: impl Into<String>) -> Origin {
        Origin::Argument(Arc::new(text.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// The bytes of the file that it is about; `None` for the command line and for what is missing.
    pub span: Option<Range<usize>>,
    /// The command-line argument that it is about.
    pub argument: Option<Box<str>>,
    /// Said right under the span.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, origin: &Origin, message: impl Into<String>) -> Diagnostic {
        let (span, argument) = match origin {
            Origin::File { start, end } => (Some(*start as usize..*end as usize), None),
            Origin::Argument(text) => (None, Some(text.as_str().into())),
            Origin::Nowhere => (None, None),
        };
        Diagnostic { severity, message: message.into(), span, argument, label: None, help: None }
    }

    pub(crate) fn error(origin: &Origin, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, origin, message)
    }

    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Diagnostic {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<Option<String>>) -> &mut Diagnostic {
        self.help = help.into();
        self
    }

    /// The diagnostic as plain text: `file:line:column`, the message, the source line underlined, the help.
    pub fn render_plain(&self, source: &Source) -> String {
        let mut text = format!("{}{}: {}\n", self.whereabouts(source), self.severity.name(), self.message);
        if let Some(span) = &self.span {
            text.push_str(&underline(source, span, self.label.as_deref().unwrap_or_default()));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("  help: {help}\n"));
        }
        text
    }

    fn whereabouts(&self, source: &Source) -> String {
        match (&self.span, &self.argument) {
            (Some(span), _) => format!("{}: ", source.place(span.start)),
            (None, Some(argument)) => format!("command line ({argument}): "),
            (None, None) => format!("{}: ", source.name),
        }
    }
}

fn underline(source: &Source, span: &Range<usize>, label: &str) -> String {
    let place = source.place(span.start);
    let (line, start) = source.line_at(span.start);
    // The line is without its `\r`, at which a span may start.
    let end = span.end.min(start + line.len()).max(span.start);
    let width = source.text.get(span.start..end).map_or(1, |text| text.chars().count().max(1));
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let indent = " ".repeat(place.column - 1);
    let under = format!("{gutter} | {indent}{} {label}", "^".repeat(width));
    format!("{number} | {line}\n{}\n", under.trim_end())
}

/// A mistake whose place the caller knows.
#[derive(Debug, PartialEq)]
pub(crate) struct Mistake {
    pub message: String,
    pub help: Option<String>,
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    pub fn error(&mut self, origin: &Origin, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::error(origin, message))
    }

    pub fn mistake(&mut self, origin: &Origin, mistake: Mistake) {
        self.error(origin, mistake.message).help = mistake.help;
    }

    pub fn warning(&mut self, origin: &Origin, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::new(Severity::Warning, origin, message))
    }

    pub fn append(&mut self, mut other: Report) {
        self.found.append(&mut other.found);
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// In the order of the file, the command line last; each told once, however many matrix points share it.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|one| (one.argument.clone(), one.span.as_ref().map(|span| (span.start, span.end))));
        let mut told = HashSet::new();
        self.found.retain(|one| told.insert((one.argument.clone(), one.span.clone(), one.message.clone())));
        self.found
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_at_the_end_of_a_line_is_underlined_there() {
        for (text, at) in [("# a\r", 3), ("# a\r\nb", 3), ("# a\r\nb", 4), ("ab", 2)] {
            let found = Diagnostic::error(&Origin::file(at..at + 1), "wrong");
            let told = found.render_plain(&Source { name: "p.toml", text });
            assert!(told.contains(&format!("p.toml:1:{}: error: wrong", at + 1)) && told.contains('^'), "{told}");
        }
    }
}
