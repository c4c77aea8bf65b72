//! A text as numbers of its characters: the first nine tenths are trained on, the rest is held out. Batches are rows from
//! anywhere in one of the two parts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gazal_data::Stream;
use gazal_stage_api::StageError;

/// The share that is trained on.
const TRAINED: f64 = 0.9;

#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// What metrics call it: its file's name.
    pub name: String,
    /// How many different characters it has.
    pub characters: usize,
    /// The place of each character among the different ones, which are in the order of their code points.
    ids: Vec<usize>,
    /// Where the part that is held out begins.
    held_out: usize,
}

impl Text {
    pub fn new(name: &str, text: &str) -> Text {
        let characters: Vec<char> = text.chars().collect::<BTreeSet<char>>().into_iter().collect();
        let ids: Vec<usize> = text.chars().filter_map(|c| characters.binary_search(&c).ok()).collect();
        let held_out = (ids.len() as f64 * TRAINED) as usize;
        Text { name: name.into(), characters: characters.len(), ids, held_out }
    }

    pub fn train(&self) -> &[usize] {
        &self.ids[..self.held_out]
    }

    pub fn validation(&self) -> &[usize] {
        &self.ids[self.held_out..]
    }
}

/// The one `.txt` file of a folder.
///
/// # Errors
/// When there is none, or several, or it is no UTF-8.
pub fn read(folder: &Path) -> Result<Text, StageError> {
    let entries = fs::read_dir(folder).map_err(StageError::io(folder))?;
    let paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .map_err(StageError::io(folder))?;
    let texts: Vec<&PathBuf> = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    let [path] = texts[..] else {
        let text = "connect a folder with one `.txt` file, such as the output of `play`, or of `source` for a file";
        return Err(StageError::failed(format!("{}: has {} `.txt` files: {text}", folder.display(), texts.len())));
    };
    let text = fs::read_to_string(path).map_err(StageError::io(path))?;
    Ok(Text::new(&path.file_stem().unwrap_or_default().to_string_lossy(), &text))
}

/// Rows of characters, one row after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub rows: usize,
    pub characters: Vec<usize>,
    /// The one after each of them.
    pub next: Vec<usize>,
}

impl Batch {
    /// `[rows, length]` from places of a part, which is longer than a row by two at least: those that `places` has at
    /// `step`. As in the notebook, the very last row of a part is never drawn.
    pub fn drawn(part: &[usize], [rows, length]: [usize; 2], places: &Stream, step: u64) -> Batch {
        let starts = (0..rows as u64).map(|row| places.below(step, row, part.len().saturating_sub(length + 1)));
        let starts: Vec<usize> = starts.collect();
        let shifted = |by: usize| starts.iter().flat_map(|start| &part[start + by..][..length]).copied().collect();
        Batch { rows, characters: shifted(0), next: shifted(1) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_is_split_in_order() {
        let text = Text::new("t", "cab ä\ncabcabca");
        assert_eq!(text.characters, 6);
        // Newline, space, a, b, c, ä.
        assert_eq!(text.train(), [4, 2, 3, 1, 5, 0, 4, 2, 3, 4, 2, 3]);
        assert_eq!(text.validation(), [4, 2]);
    }

    #[test]
    fn batches_are_rows_of_a_part_and_what_follows() {
        let part: Vec<usize> = (100..120).collect();
        let places = Stream::new(3, "batches");
        let drawn = |step| Batch::drawn(&part, [50, 4], &places, step);
        let batch = drawn(0);
        assert_eq!((batch.rows, batch.characters.len()), (50, 200));
        let follows = |(at, next): (&usize, &usize)| at + 1 == *next;
        assert!(batch.characters.iter().zip(&batch.next).all(follows));
        assert!(batch.characters.chunks(4).all(|row| row[3] == row[0] + 3));
        let starts = |batch: &Batch| batch.characters.iter().step_by(4).copied().collect::<BTreeSet<usize>>();
        assert_eq!(starts(&batch).last(), Some(&114), "of 15 places some row begins at the last one");
        assert_ne!(batch, drawn(1));
        assert_eq!(batch, drawn(0));
    }

    #[test]
    fn one_text_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = || read(folder.path()).unwrap_err().to_string();
        assert!(error().contains("has 0 `.txt` files: connect a folder"));
        fs::write(folder.path().join("README.md"), "no text").unwrap();
        fs::write(folder.path().join("input.txt"), "ab").unwrap();
        assert_eq!(read(folder.path()).unwrap(), Text::new("input", "ab"));
        fs::write(folder.path().join("other.txt"), "ab").unwrap();
        assert!(error().contains("has 2 `.txt` files"));
        fs::remove_file(folder.path().join("other.txt")).unwrap();
        fs::write(folder.path().join("input.txt"), [0xff]).unwrap();
        assert!(error().contains("input.txt"));
    }
}
