//! The store from outside: damage, and a store that cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::space::TestSpace;

const STAGES: &str = "[stages.a]\nkind = \"source\"\nparams = { path = \"notes.txt\" }\n\
    [stages.b]\nkind = \"exec\"\ninputs = { x = \"a\" }\noutputs = { out = \"files\" }\n\
    params = { command = [\"sh\", \"-c\", \"cat $GAZAL_INPUT_x/notes.txt > $GAZAL_OUTPUT_out/copy.txt\"] }\n";

fn space() -> TestSpace {
    let space = TestSpace::with(STAGES);
    space.write("notes.txt", "a text that is long enough to be found again");
    space.expect(0, "run pipeline.toml");
    space
}

/// The blob that holds the text.
fn blob(space: &TestSpace) -> PathBuf {
    let shards = fs::read_dir(space.path("cache/blobs")).unwrap().map(|shard| shard.unwrap().path());
    let mut blobs = shards.flat_map(|shard| fs::read_dir(shard).unwrap()).map(|blob| blob.unwrap().path());
    blobs.find(|blob| fs::read_to_string(blob).is_ok_and(|text| text.starts_with("a text that"))).unwrap()
}

fn damage(space: &TestSpace) {
    let path = blob(space);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "b text that is long enough to be found again").unwrap();
}

#[test]
fn damage_is_found_and_made_good_by_the_next_run() {
    let space = space();
    assert!(space.expect(0, "cache verify").stdout.contains("every byte"));
    damage(&space);
    assert!(space.expect(3, "cache verify").stdout.contains("damaged"));
    assert_eq!(space.planned("", "a")["causes"][0]["field"], "lost_blob");
    space.expect(0, "run pipeline.toml");
    space.expect(0, "cache verify");
    space.expect(0, "get pipeline.toml b out");
    assert_eq!(space.read("out/copy.txt"), "a text that is long enough to be found again");
}

#[test]
fn damage_that_nobody_looked_for_is_no_hit() {
    let space = space();
    damage(&space);
    space.expect(0, "run pipeline.toml");
    space.expect(0, "get pipeline.toml b out");
    assert_eq!(space.read("out/copy.txt"), "a text that is long enough to be found again");
}

#[test]
fn a_store_that_cannot_be_used_is_exit_code_3() {
    let space = space();
    space.write("file", "");
    space.expect(3, "run pipeline.toml --store file");
    space.write("cache/format", "gazal-store 999\n");
    assert!(space.expect(3, "run pipeline.toml").stderr.contains("format"));
}

#[test]
fn the_store_may_be_named_by_the_environment() {
    let space = TestSpace::with(STAGES);
    space.write("notes.txt", "text");
    assert!(space.command("run pipeline.toml").env("GAZAL_STORE", "elsewhere").status().unwrap().success());
    assert!(space.path("elsewhere/receipts").is_dir() && !space.path("cache").exists());
    assert!(space.expect(0, "cache ls --store elsewhere").stdout.contains("receipts"));
}
