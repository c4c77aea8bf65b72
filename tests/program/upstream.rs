//! The page `crates/train/UPSTREAM.md` is true: each test that it names is there.

use std::fs;
use std::path::Path;

/// A row of the page's tables: what others assert, and where that is tested here.
struct Row {
    name: String,
    /// File and test.
    tests: Vec<(String, String)>,
    /// Why there is none.
    reason: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("crates/train/UPSTREAM.md")).unwrap();
    let lines: Vec<&str> = page.lines().collect();
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
    let inside = |at: &usize| lines[*at].starts_with("| ") && !is_head(*at);
    (0..lines.len()).filter(inside).map(|at| row(lines[at])).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _asserts, here] = cells[..] else { panic!("three cells: {line}") };
    let reason = here.strip_prefix("does not apply: ").map(str::to_string);
    let quoted = if reason.is_some() { "" } else { here };
    let tests = quoted.split('`').skip(1).step_by(2).map(|place| {
        let (file, test) = place.split_once("::").unwrap_or_else(|| panic!("a file and a test: {place}"));
        (file.to_string(), test.to_string())
    });
    Row { name: name.to_string(), tests: tests.collect(), reason }
}

/// Whether a source has a test of this name that is run, and not only a function.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_test = |at: usize| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let attributes: Vec<&str> = above.filter_map(|line| line.strip_prefix("#[")).collect();
        attributes.contains(&"test]") && !attributes.iter().any(|attribute| attribute.starts_with("ignore"))
    };
    (0..lines.len()).any(|at| lines[at].starts_with(&format!("fn {name}(")) && is_test(at))
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let rows = rows();
    assert!(rows.len() >= 100, "the tables of the page have {} rows", rows.len());
    for Row { name, tests, reason } in &rows {
        match reason {
            Some(why) => assert!(!why.is_empty(), "{name} does not apply, and why?"),
            None => assert!(!tests.is_empty(), "{name} has neither a test nor a reason"),
        }
        for (file, test) in tests {
            let source = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(has_test(&source, test), "{name}: {file} has no test `{test}`");
        }
    }
}

#[test]
fn every_invariant_has_a_test() {
    let rows = rows();
    for number in 1..=25 {
        let tested = |row: &Row| row.name == format!("I{number}") && !row.tests.is_empty();
        assert!(rows.iter().any(tested), "I{number} has no test on the page");
    }
}

#[test]
fn a_function_is_no_test() {
    let source = "#[test]\n// so\n#[should_panic]\nfn one() {}\nfn two() {}\n    #[test]\n    fn three() {}\n";
    assert_eq!(["one", "two", "three", "thr"].map(|name| has_test(source, name)), [true, false, true, false]);
}
