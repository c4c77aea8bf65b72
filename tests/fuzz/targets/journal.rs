//! What a run has left: `run.json`, `hits`, `events.jsonl`.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use gazal_fuzz::Space;
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let folder = SPACE.store.root().join("runs/20260102-030405-678");
    fs::create_dir_all(&folder).expect("a folder");
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    for name in ["run.json", "hits", "events.jsonl"] {
        fs::write(folder.join(name), parts.next().unwrap_or_default()).expect("a file");
    }
    let dir = SPACE.store.run("last").expect("the run");
    gazal_engine::read_hits(&dir);
    if let Ok(record) = gazal_engine::read_record(&dir) {
        serde_json::to_string(&record).expect("what was JSON is JSON again");
        assert!(gazal_engine::diff(&SPACE.store, &record, &record).is_empty(), "a run is as itself");
    }
    SPACE.look_around();
});
