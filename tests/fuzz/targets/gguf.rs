//! A GGUF file: it becomes a model's folder whose configuration and tensors can be read, or is refused.
#![no_main]

use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_lm::weights::{Precision, Weights};
use gazal_lm::{Config, import_gguf};
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let (file, folder) = (SPACE.path("model.gguf"), SPACE.path("model"));
    std::fs::write(&file, bytes).expect("written");
    std::fs::create_dir_all(&folder).expect("made");
    if import_gguf(&file, &folder, Precision::F32).is_ok() {
        Config::load(&folder).expect("a configuration");
        let weights = Weights::load_model(&folder).expect("tensors");
        assert!(weights.names().all(|name| weights.read(name).is_ok()));
    }
    std::fs::remove_dir_all(&folder).expect("removed");
});
