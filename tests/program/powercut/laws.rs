//! What the model of the disk promises, on logs written by hand.

use std::fs;

use super::disk::{Disk, Loss};
use super::log;
use crate::crash::Draws;

/// A folder with the file `a`, made and written.
const MADE: [&str; 3] = [
    r#"mkdir("/P/s", 0777)"#,
    r#"openat(AT_FDCWD</P>, "s/a", O_WRONLY|O_CREAT, 0666)"#,
    r#"write(3</P/s/a>, "abc", 3)"#,
];
const SYNC_A: &str = "fsync(3</P/s/a>)";
const SYNC_S: &str = "fsync(4</P/s>)";
const SYNC_PARENT: &str = "fsync(4</P>)";

/// Asserts what is left after these calls: path and text of every file.
fn assert_left(calls: &[&str], loss: Loss, expected: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let text: String = MADE.iter().chain(calls).map(|call| format!("1 {call} = 0\n")).collect();
    let mut disk = Disk::new(&dir.path().join("s"));
    log::read(&text.replace("/P", place)).iter().for_each(|change| {
        disk.apply(change);
    });
    disk.lose(loss, &mut Draws::from_seed(3));
    let mut found = Vec::new();
    let mut open = vec![dir.path().to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    let expected: Vec<_> = expected.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    assert_eq!(found, expected, "{calls:?} {loss:?}");
}

#[test]
fn bytes_are_safe_after_their_file_was_synced() {
    assert_left(&[], Loss::Bytes, &[("s/a", "")]);
    assert_left(&[], Loss::Zeros, &[("s/a", "\0\0\0")]);
    assert_left(&[], Loss::Nothing, &[("s/a", "abc")]);
    assert_left(&[SYNC_A], Loss::Bytes, &[("s/a", "abc")]);
    assert_left(&[SYNC_A], Loss::Zeros, &[("s/a", "abc")]);
    let more = r#"write(3</P/s/a>, "d", 1)"#;
    assert_left(&[SYNC_A, more], Loss::Bytes, &[("s/a", "abc")]);
    assert_left(&[SYNC_A, more], Loss::Zeros, &[("s/a", "\0\0\0\0")]);
}

#[test]
fn names_are_safe_after_their_folder_was_synced_and_the_folders_above() {
    assert_left(&[SYNC_A], Loss::Everything, &[]);
    assert_left(&[SYNC_A, SYNC_S], Loss::Everything, &[]);
    assert_left(&[SYNC_A, SYNC_PARENT], Loss::Everything, &[]);
    assert_left(&[SYNC_A, SYNC_S, SYNC_PARENT], Loss::Everything, &[("s/a", "abc")]);
    assert_left(&[SYNC_S, SYNC_PARENT], Loss::Everything, &[("s/a", "")]);
}

#[test]
fn what_was_removed_or_renamed_may_be_back() {
    let safe = [SYNC_A, SYNC_S, SYNC_PARENT];
    let after = |more: &'static str| [&safe[..], &[more]].concat();
    let (renamed, removed) = (r#"rename("/P/s/a", "/P/s/b")"#, r#"unlink("/P/s/a")"#);
    assert_left(&after(renamed), Loss::Everything, &[("s/a", "abc")]);
    assert_left(&after(renamed), Loss::Bytes, &[("s/b", "abc")]);
    assert_left(&after(removed), Loss::Everything, &[("s/a", "abc")]);
    assert_left(&after(removed), Loss::Nothing, &[]);
}

#[test]
fn a_second_name_is_the_same_file() {
    let linked = [SYNC_A, r#"linkat(AT_FDCWD</P>, "/P/s/a", AT_FDCWD</P>, "/P/s/b", 0)"#, r#"unlink("/P/s/a")"#];
    assert_left(&linked, Loss::Bytes, &[("s/b", "abc")]);
    let written = [&linked[..], &[r#"pwrite64(3</P/s/b>, "X", 1, 1)"#]].concat();
    assert_left(&written, Loss::Nothing, &[("s/b", "aXc")]);
}

#[test]
fn a_folder_takes_what_is_in_it_along() {
    let moved =
        [SYNC_A, r#"mkdir("/P/s/d", 0777)"#, r#"rename("/P/s/a", "/P/s/d/a")"#, r#"rename("/P/s/d", "/P/s/e")"#];
    assert_left(&moved, Loss::Bytes, &[("s/e/a", "abc")]);
    let synced = [&moved[..], &[SYNC_S, SYNC_PARENT]].concat();
    assert_left(&synced, Loss::Everything, &[]);
    let inside = [&synced[..], &["fsync(4</P/s/e>)"]].concat();
    assert_left(&inside, Loss::Everything, &[("s/e/a", "abc")]);
}

#[test]
fn a_file_that_is_opened_again_is_written_from_its_start_or_its_end() {
    let open = |flags: &str| format!(r#"openat(AT_FDCWD</P>, "/P/s/a", {flags}, 0666)"#);
    let (append, truncate) = (open("O_WRONLY|O_APPEND"), open("O_WRONLY|O_CREAT|O_TRUNC"));
    let write = r#"write(3</P/s/a>, "d", 1)"#;
    assert_left(&[&append, write], Loss::Nothing, &[("s/a", "abcd")]);
    assert_left(&[&truncate, write], Loss::Nothing, &[("s/a", "d")]);
    assert_left(&[&truncate, write, "ftruncate(3</P/s/a>, 3)"], Loss::Nothing, &[("s/a", "d\0\0")]);
}

#[test]
fn some_is_now_the_one_and_now_the_other() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        let text: String = MADE.iter().chain(&[SYNC_PARENT]).map(|call| format!("1 {call} = 0\n")).collect();
        let mut disk = Disk::new(&dir.path().join("s"));
        log::read(&text.replace("/P", place)).iter().for_each(|change| {
            disk.apply(change);
        });
        disk.lose(Loss::Some, &mut Draws::from_seed(seed));
        seen.insert(fs::read_to_string(dir.path().join("s/a")).ok());
    }
    let expected = [None, Some(String::new()), Some("\0\0\0".into()), Some("abc".into())];
    assert_eq!(seen, expected.into());
}
