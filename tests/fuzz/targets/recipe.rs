//! The body of a recipe; the seal is put before it.
#![no_main]

use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_store::{Artifact, Digest};
use libfuzzer_sys::fuzz_target;

/// With a blob that recipes may name, and a tree of one file that may be made of it.
static SPACE: LazyLock<(Space, Artifact)> = LazyLock::new(|| {
    let space = Space::default();
    space.write("blobs", &Digest::of("alpha"), b"alpha");
    let file = Digest::of("alphaalpha");
    let tree = format!(
        r#"{{"version":1,"entries":[{{"path":"a","node":{{"file":{{"digest":"{file}","size":10,"executable":false}}}}}}]}}"#
    );
    let digest = Digest::of(&tree);
    space.write("blobs", &digest, tree.as_bytes());
    (space, Artifact { bytes: digest, content: digest })
});

fuzz_target!(|body: &[u8]| {
    let (space, artifact) = &*SPACE;
    let file = Digest::of("alphaalpha");
    let seal = Digest::of([file.as_bytes().as_slice(), body].concat());
    let place = space.write("recipes", &file, &[format!("{seal}\n").as_bytes(), body].concat());
    let dest = space.path("restored");
    let restored = space.store.restore(artifact, &dest);
    let expected = format!("{0} 5\n{0} 5\n", Digest::of("alpha"));
    assert!(restored.is_ok() || body != expected.as_bytes(), "{restored:?}");
    if restored.is_ok() {
        assert_eq!(std::fs::read(dest.join("a")).expect("a file"), b"alphaalpha");
        std::fs::remove_dir_all(&dest).expect("removed");
    }
    let _ = std::fs::remove_file(place);
});
