//! A stored tree: whatever it says, a view and a restore of it stay in their folders.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_store::{Artifact, Digest, Tree};
use libfuzzer_sys::fuzz_target;

/// With a blob that trees may name.
static SPACE: LazyLock<Space> = LazyLock::new(|| {
    let space = Space::default();
    space.write("blobs", &Digest::of("alpha"), b"alpha");
    space
});

fuzz_target!(|bytes: &[u8]| {
    let digest = Digest::of(bytes);
    let (artifact, blob) = (Artifact { bytes: digest, content: digest }, SPACE.write("blobs", &digest, bytes));
    if SPACE.store.tree(&artifact).is_ok() {
        assert!(serde_json::from_slice::<Tree>(bytes).is_ok());
        let _ = SPACE.store.check(&artifact);
        let (outside, dest) = (SPACE.path("outside"), SPACE.path("outside/inside"));
        fs::create_dir_all(&outside).expect("a folder");
        let restored = SPACE.store.restore(&artifact, &dest);
        let names: Vec<_> = fs::read_dir(&outside).expect("a folder").map(|entry| entry.expect("a name").file_name()).collect();
        assert!(names.iter().all(|name| name == "inside"), "{names:?}");
        assert!(restored.is_err() || dest.is_dir());
        fs::remove_dir_all(&outside).expect("removed");
        view(&artifact, restored.is_ok());
    }
    fs::remove_file(blob).expect("removed");
});

/// A view comes about where a restore does.
fn view(artifact: &Artifact, restored: bool) {
    let view = SPACE.store.view(artifact);
    assert_eq!(view.is_ok(), restored, "{view:?}");
    if let Ok(path) = view {
        make_writable(&path);
        fs::remove_dir_all(path).expect("removed");
    }
}

fn make_writable(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("writable");
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name")) {
        if entry.file_type().expect("a type").is_dir() {
            make_writable(&entry.path());
        }
    }
}
