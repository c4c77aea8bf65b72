//! A file of tensors: every tensor that it names can be read, or is refused; nothing larger than the file comes out.
#![no_main]

use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_lm::weights::Weights;
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let path = SPACE.path("model.safetensors");
    std::fs::write(&path, bytes).expect("written");
    let Ok(weights) = Weights::load(&path) else { return };
    for name in weights.names() {
        let count: usize = weights.shape(name).expect("a shape").iter().product();
        if let Ok(values) = weights.read(name) {
            assert_eq!(values.len(), count);
            assert!(count <= bytes.len(), "no element takes less than a byte");
        }
    }
});
