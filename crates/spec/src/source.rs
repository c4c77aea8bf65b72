//! The text of a pipeline file, and places in it that people can find again.

use serde::{Deserialize, Serialize};

/// A pipeline file as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The path as it is shown to people.
    pub name: &'a str,
    pub text: &'a str,
}

/// Somewhere in a file; line and column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Source<'_> {
    /// The place of a byte offset. For many places of one file, `Lines` counts the lines once.
    pub fn place(&self, offset: usize) -> Place {
        Lines::of(self).place(offset)
    }

    /// The line that holds a byte offset, and where that line starts.
    pub fn line_at(&self, offset: usize) -> (&str, usize) {
        let offset = self.boundary(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |at| offset + at);
        (self.text[start..end].trim_end_matches('\r'), start)
    }

    /// `offset`, or the nearest character boundary before it.
    fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }
}

/// Where the lines of a file start.
pub(crate) struct Lines<'a> {
    source: Source<'a>,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn of(source: &Source<'a>) -> Lines<'a> {
        let next = source.text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { source: *source, starts: std::iter::once(0).chain(next).collect() }
    }

    /// The place of a byte offset.
    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.spot(offset);
        Place { file: self.source.name.into(), line: line as usize, column: column as usize }
    }

    /// Line and column of a byte offset.
    pub fn spot(&self, offset: usize) -> (u32, u32) {
        let offset = self.source.boundary(offset);
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        (line as u32, self.source.text[start..offset].chars().count() as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let source = Source { name: "p.toml", text: "a = 1\nä = 2\n" };
        let at = source.text.find("= 2").unwrap_or_default();
        assert_eq!(source.place(at).to_string(), "p.toml:2:3");
        assert_eq!(source.place(0).to_string(), "p.toml:1:1");
        assert_eq!(source.place(999).to_string(), "p.toml:3:1");
    }

    #[test]
    fn a_line_is_found_by_any_of_its_bytes() {
        let source = Source { name: "p.toml", text: "a = 1\nb = 2" };
        assert_eq!(source.line_at(8), ("b = 2", 6));
        assert_eq!(source.line_at(11), ("b = 2", 6));
    }
}
