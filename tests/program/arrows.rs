//! The arrows test: the table in `crates/README.md` holds for the manifests and for the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A row of the table.
struct Row {
    name: String,
    /// `None` where it may use all.
    may_use: Option<BTreeSet<String>>,
    never_depends: Vec<String>,
    never_says: Vec<String>,
}

impl Row {
    fn package(&self) -> String {
        if self.name == "cli" { "gazal-pipe".into() } else { format!("gazal-{}", self.name) }
    }

    fn sources(&self) -> PathBuf {
        let folder = root().join("crates").join(&self.name);
        if self.name == "cli" { folder } else { folder.join("src") }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The words between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

fn rows() -> Vec<Row> {
    let map = fs::read_to_string(root().join("crates/README.md")).unwrap();
    let lines = map.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let rows: Vec<Row> = lines.take_while(|line| line.starts_with('|')).map(row).collect();
    assert!(rows.len() >= 10, "the table of crates/README.md has {} rows", rows.len());
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _charter, may_use, never_depends, never_says] = cells[..] else { panic!("five cells: {line}") };
    Row {
        name: quoted(name).remove(0),
        may_use: (may_use != "all").then(|| quoted(may_use).into_iter().collect()),
        never_depends: quoted(never_depends),
        never_says: quoted(never_says),
    }
}

/// Every member of the workspace with its direct dependencies, those for tests too.
fn packages() -> Vec<(String, Vec<String>)> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            (text(&package["name"]), dependencies.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

/// The Rust files under a folder that are no tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let product = entries.filter(|path| {
        let stem = path.file_stem().unwrap().to_string_lossy();
        stem != "tests" && !stem.starts_with("fixture")
    });
    product
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| is_rust(path))
        .collect()
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The lines of a file before its tests, with their numbers, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.lines()).take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// `file:line says word`, for every word that a file must not have.
fn said(file: &Path, words: &[String]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let said = code(&text).flat_map(|(number, line)| {
        let found = words.iter().filter(move |word| line.contains(word.as_str()));
        found.map(move |word| format!("{}:{number} says `{word}`", file.display()))
    });
    said.collect()
}

#[test]
fn the_map_has_every_crate() {
    let mapped: BTreeSet<String> = rows().iter().map(Row::package).collect();
    let present: BTreeSet<String> = packages().into_iter().map(|(name, _)| name).collect();
    assert_eq!(mapped, present);
}

#[test]
fn arrows_are_those_of_the_map() {
    let packages = packages();
    for row in rows() {
        let (_, dependencies) = packages.iter().find(|(name, _)| *name == row.package()).unwrap();
        for dependency in dependencies {
            let known = dependency
                .strip_prefix("gazal-")
                .is_none_or(|used| row.may_use.as_ref().is_none_or(|may| may.contains(used)));
            assert!(known, "{} uses {dependency}, which crates/README.md does not allow", row.name);
            let never = row
                .never_depends
                .iter()
                .find(|never| dependency == *never || dependency.starts_with(&format!("{never}-")));
            assert!(never.is_none(), "{} must never depend on {dependency}", row.name);
        }
    }
}

#[test]
fn what_is_absent_from_a_crate_is_absent() {
    for row in rows() {
        let files = files(&row.sources());
        assert!(!files.is_empty(), "{} has no sources", row.name);
        let said: Vec<String> = files.iter().flat_map(|file| said(file, &row.never_says)).collect();
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}

#[test]
fn one_file_names_backends() {
    let backends = ["Device::flex", "Device::wgpu", "Device::cuda", "Device::cpu", "Device::default"].map(String::from);
    let all = rows().iter().flat_map(|row| files(&row.sources())).collect::<Vec<_>>();
    let named: Vec<_> = all.iter().filter(|file| !said(file, &backends).is_empty()).collect();
    assert_eq!(named, [&root().join("crates/lm/src/device.rs")]);
}

#[test]
fn one_file_is_unsafe() {
    let all = rows().iter().flat_map(|row| files(&row.sources())).collect::<Vec<_>>();
    let named: Vec<_> = all.iter().filter(|file| !said(file, &["unsafe_code".into()]).is_empty()).collect();
    assert_eq!(named, [&root().join("crates/kernels/src/memory.rs")]);
}

#[test]
fn a_word_in_a_comment_or_a_test_is_no_offence() {
    let text = "// toml\nlet a = 1;\n#[cfg(test)]\nmod tests { toml }\n";
    assert_eq!(code(text).collect::<Vec<_>>(), [(2, "let a = 1;")]);
}
