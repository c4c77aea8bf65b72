//! `config.json` of a model: what is accepted says the same when it is saved and read again, but for the type of the
//! weights.
#![no_main]

use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_lm::Config;
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let folder = SPACE.path("");
    std::fs::write(folder.join("config.json"), bytes).expect("written");
    let Ok(config) = Config::load(&folder) else { return };
    if config.rope.dim < 1 << 12 {
        assert_eq!(config.rope.frequencies().len(), config.rope.dim / 2);
    }
    config.save(&folder).expect("what was read can be saved");
    let saved = Config::load(&folder).expect("what was saved can be read");
    // Saved weights are float32, whatever they were.
    assert_eq!(saved.to_json(), config.to_json());
    saved.save(&folder).expect("what was saved can be saved");
    assert_eq!(Config::load(&folder).expect("and read"), saved);
});
