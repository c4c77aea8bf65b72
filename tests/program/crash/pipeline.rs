//! The pipeline of these tests: twelve stages in a chain with a fan, one of which leaves a process behind that has
//! left its process group.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::space::TestSpace;

/// The bytes of every file, by stage and path.
pub type Outputs = BTreeMap<String, BTreeMap<PathBuf, Vec<u8>>>;

/// How many texts there are to begin with.
pub const TEXTS: u64 = 3;

pub fn space() -> TestSpace {
    with(&stages())
}

/// Some of the stages: a chain, and what a tree can hold.
pub fn small() -> TestSpace {
    let fan =
        exec("fan", "in = 'up', more = 'folders'", "cat $GAZAL_INPUT_in/f $GAZAL_INPUT_more/a/b/* > f; ln -s f link");
    with(&[SOURCES, &up(), &folders(), &fan].concat())
}

fn with(stages: &str) -> TestSpace {
    let space = TestSpace::with(stages);
    write_text(&space, 0);
    space.write("more/one.txt", "one\n");
    space.write("more/two.txt", "two\n");
    space
}

/// The text that everything is made of.
pub fn write_text(space: &TestSpace, number: u64) {
    space.write("words.txt", &format!("the text with the number {number}\n"));
}

fn stages() -> String {
    let fan = |n: usize| exec(&format!("fan{n}"), "in = 'up'", &format!("sed 's/^/{n} /' $GAZAL_INPUT_in/f > f"));
    let parts = "in = ['fan1', 'fan2', 'fan3', 'fan4']";
    let all = "a = 'count', b = 'folders', c = 'stray'";
    [
        SOURCES.to_string(),
        up(),
        exec("stray", "in = 'up'", "(setsid sleep 300 &) ; cat $GAZAL_INPUT_in/f > f"),
        (1..=4).map(fan).collect(),
        exec("join", parts, "IFS=:; for dir in $GAZAL_INPUT_in; do cat $dir/f; done > f; ln -s f link"),
        exec("count", "in = 'join'", "wc -c < $GAZAL_INPUT_in/link > f; cp f again"),
        folders(),
        exec("last", all, "cat $GAZAL_INPUT_a/f $GAZAL_INPUT_b/a/b/* $GAZAL_INPUT_c/f > f"),
    ]
    .concat()
}

const SOURCES: &str = "[stages.words]\nkind = 'source'\nparams = { path = 'words.txt' }\n\
    [stages.more]\nkind = 'source'\nparams = { path = 'more' }\n";

fn up() -> String {
    exec("up", "in = 'words'", "tr a-z A-Z < $GAZAL_INPUT_in/words.txt > f")
}

fn folders() -> String {
    exec("folders", "in = 'more'", "mkdir -p a/b empty; cp $GAZAL_INPUT_in/* a/b; chmod 755 a/b/one.txt")
}

/// A stage whose command runs in its output's folder.
fn exec(name: &str, inputs: &str, command: &str) -> String {
    format!(
        "[stages.{name}]\nkind = 'exec'\ninputs = {{ {inputs} }}\noutputs = {{ out = 'files' }}\n\
         params = {{ command = ['sh', '-c', \"cd $GAZAL_OUTPUT_out; sleep 0.02; {command}\"] }}\n"
    )
}

/// What every stage has made, fetched by `get`.
pub fn outputs(space: &TestSpace) -> Outputs {
    fetched(space, planned(space).iter().map(|(name, _)| name))
}

/// What these stages have made, fetched by `get`.
pub fn fetched<'a>(space: &TestSpace, names: impl Iterator<Item = &'a String>) -> Outputs {
    let fetched = space.path("fetched");
    let _ = fs::remove_dir_all(&fetched);
    let outputs = names.map(|name| {
        space.expect(0, &format!("get pipeline.toml {name} fetched/{name}"));
        (name.clone(), files(&fetched.join(name)))
    });
    outputs.collect()
}

/// Name and state of every stage, as `plan` says it.
pub fn planned(space: &TestSpace) -> Vec<(String, String)> {
    let plan: Value = serde_json::from_str(&space.expect(0, "plan --json pipeline.toml").stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    plan["stages"].as_array().unwrap().iter().map(|stage| (text(&stage["name"]), text(&stage["state"]))).collect()
}

/// Every file, link and empty folder below `folder`: bytes, or where the link leads.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for path in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_path_buf();
            if metadata.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else if metadata.is_dir() {
                found.insert(name, b"a folder".to_vec());
                open.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What an undisturbed run makes of each text, in a folder of its own.
pub fn undisturbed() -> Vec<Outputs> {
    let space = space();
    let make = |text| {
        write_text(&space, text);
        space.expect(0, "run pipeline.toml -j 2");
        outputs(&space)
    };
    (0..TEXTS).map(make).collect()
}

/// Views are read-only folders, which their owner cannot empty either.
pub fn remove_store(space: &TestSpace) {
    let store = space.path("cache");
    if store.exists() {
        assert!(Command::new("chmod").args(["-R", "u+w"]).arg(&store).status().unwrap().success());
        fs::remove_dir_all(store).unwrap();
    }
}

/// After whatever happened: one ordinary run, and everything is right.
pub fn assert_all_right(space: &TestSpace, expected: &Outputs) {
    assert!(planned(space).iter().all(|(_, state)| state == "hit"), "{:?}", planned(space));
    assert_eq!(&outputs(space), expected);
    let told = space.run("cache verify");
    assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
}
