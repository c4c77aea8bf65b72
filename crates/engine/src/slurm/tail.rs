//! Reading what a job writes while it writes it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Said;

/// Of a log, what a message about a failure may hold.
const LINES: usize = 5;
const BYTES: u64 = 2000;

/// A worker's events, read as they come.
///
/// The file is opened anew each time: a network file system looks for news of a file when it is opened.
pub(crate) struct Tail {
    path: PathBuf,
    read: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Tail {
    pub fn new(path: PathBuf) -> Tail {
        Tail { path, read: 0, rest: Vec::new() }
    }

    /// Whether there was anything to read.
    pub fn has_begun(&self) -> bool {
        self.read > 0
    }

    /// What was said since the last time. A line that cannot be read (a node died while it wrote) is passed over.
    pub fn news(&mut self) -> Vec<Said> {
        let mut bytes = std::mem::take(&mut self.rest);
        let known = bytes.len();
        if read_from(&self.path, self.read, &mut bytes).is_none() {
            bytes.truncate(known);
        }
        self.read += (bytes.len() - known) as u64;
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

fn read_from(path: &Path, start: u64, into: &mut Vec<u8>) -> Option<()> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(start)).ok()?;
    file.read_to_end(into).ok().map(drop)
}

/// The last thing that a worker said, if it was its last word.
pub(crate) fn last_word(events: &Path) -> Option<Said> {
    Tail::new(events.to_path_buf()).news().pop().filter(Said::is_last)
}

/// The last lines of a log.
pub(crate) fn last_lines(log: &Path) -> String {
    let length = std::fs::metadata(log).map_or(0, |found| found.len());
    let mut bytes = Vec::new();
    let _ = read_from(log, length.saturating_sub(BYTES), &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_line_is_heard_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.news(), []);
        let lines = "{\"said\":\"waiting\"}\nhalf a li\n{\"said\":\"ran\"}\n";
        for end in [5, 19, 30, lines.len()] {
            fs::write(&path, &lines[..end]).unwrap();
            let heard: Vec<Said> = tail.news();
            let expected: &[Said] = match end {
                19 => &[Said::Waiting],
                end if end == lines.len() => &[Said::Ran],
                _ => &[],
            };
            assert_eq!(heard, expected, "{end}");
        }
        assert_eq!(last_word(&path), Some(Said::Ran));
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(last_lines(&path), "");
        fs::write(&path, (0..10_000).map(|number| format!("line {number}\n\n")).collect::<String>()).unwrap();
        assert_eq!(last_lines(&path), "line 9995\nline 9996\nline 9997\nline 9998\nline 9999");
    }
}
