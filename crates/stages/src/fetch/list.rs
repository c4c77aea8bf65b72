//! A JSON file that is one list of rows, read row by row.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use gazal_data::Row;
use gazal_stage_api::StageError;
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

/// Whether a file begins as a list.
pub(super) fn begins(path: &Path) -> Result<bool, StageError> {
    let file = BufReader::new(File::open(path).map_err(StageError::io(path))?);
    let first = file.bytes().map_while(Result::ok).find(|byte| !byte.is_ascii_whitespace());
    Ok(first == Some(b'['))
}

/// Calls `f` with each row of the list until it has enough; what comes after that has to be JSON all the same.
pub(super) fn each(path: &Path, f: &mut ForEach<'_>) -> Result<(), StageError> {
    let file = BufReader::new(File::open(path).map_err(StageError::io(path))?);
    let mut reader = serde_json::Deserializer::from_reader(file);
    let mut failed = None;
    let read = reader.deserialize_seq(Rows { f, failed: &mut failed }).and_then(|()| reader.end());
    match failed {
        Some(error) => Err(error),
        None => read.map_err(|error| StageError::failed(format!("{}: {error}", path.display()))),
    }
}

type ForEach<'a> = dyn FnMut(Row) -> Result<ControlFlow<()>, StageError> + 'a;

struct Rows<'a, 'b> {
    f: &'a mut ForEach<'b>,
    /// What `f` said, which is no mistake of the file.
    failed: &'a mut Option<StageError>,
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(row) = list.next_element::<Row>()? {
            match (self.f)(row) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(error) => {
                    *self.failed = Some(error);
                    break;
                }
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn read(text: &str, most: usize) -> Result<Vec<String>, StageError> {
        let mut rows = Vec::new();
        each(file(text).path(), &mut |row| {
            if rows.len() == most {
                return Ok(ControlFlow::Break(()));
            }
            rows.push(serde_json::to_string(&row).unwrap());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }

    #[test]
    fn rows_come_one_by_one_until_there_are_enough() {
        let text = " [ {\"b\": 1, \"a\": [2]},\n {\"b\": null} , {\"b\": 3}]\n";
        assert!(begins(file(text).path()).unwrap());
        assert!(!begins(file("{\"a\": [1]}\n").path()).unwrap());
        assert_eq!(read(text, 9).unwrap(), [r#"{"b":1,"a":[2]}"#, r#"{"b":null}"#, r#"{"b":3}"#]);
        assert_eq!(read(text, 1).unwrap(), [r#"{"b":1,"a":[2]}"#]);
        assert_eq!(read("[]", 9).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_list_of_rows_is_said_with_its_place() {
        let wrong = [
            ("[{\"a\": 1}, 2]", "expected a map at line 1 column 13"),
            ("[{\"a\": 1}", "EOF while parsing a list at line 1"),
            ("[] 1", "trailing characters at line 1 column 4"),
        ];
        for (text, wanted) in wrong {
            let error = read(text, 9).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let refused = each(file("[{}]").path(), &mut |_| Err(StageError::failed("the disk is full")));
        assert!(refused.unwrap_err().to_string().contains("the disk is full"));
    }
}
