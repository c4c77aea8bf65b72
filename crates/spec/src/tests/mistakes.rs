//! Every file in `mistakes/` is wrong; beside it lies what a person is told.
//!
//! A first line `# --set a=b` holds the command line. New cases: add a file, run with `INSTA_UPDATE=always`, read
//! the snapshot.

use std::path::Path;

use super::{load_with, overrides, render};

#[test]
fn mistakes_are_told_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/mistakes");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    assert!(files.len() > 20, "the cases are missing");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let arguments = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        let told = match load_with(&text, &overrides(arguments)) {
            Ok(pipeline) => format!("accepted\n\n{}", render(&text, &pipeline.warnings)),
            Err(found) => render(&text, &found),
        };
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_snapshot_path(&folder);
        settings.bind(|| insta::assert_snapshot!(file.file_stem().unwrap().to_str().unwrap(), told));
    }
}
