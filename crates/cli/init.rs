//! `init`: a small pipeline that works, to start from.

use std::fs;
use std::path::Path;

use crate::failure::{Exit, Failure};
use crate::out::Out;

const PIPELINE: &str = r#"# gazal-pipe run pipeline.toml
[pipeline]
name = "hello"

[stages.notes]                          # a file of your own, by content
kind = "source"
params = { path = "notes.txt" }

[stages.shout]                          # any program
kind = "exec"
inputs = { text = "notes" }             # $GAZAL_INPUT_text: a read-only folder
outputs = { out = "files" }             # $GAZAL_OUTPUT_out: an empty folder
params = { command = ["sh", "-c", "tr a-z A-Z < $GAZAL_INPUT_text/notes.txt > $GAZAL_OUTPUT_out/loud.txt"] }
"#;
const NOTES: &str = "never do the same work twice\n";

pub(crate) fn init(folder: &Path, out: &mut Out) -> Result<Exit, Failure> {
    for (name, text) in [("pipeline.toml", PIPELINE), ("notes.txt", NOTES)] {
        let path = folder.join(name);
        if path.exists() {
            return Err(Failure::wrong(
                format!("{} is there already", path.display()),
                "name another folder: gazal-pipe init DIR",
            ));
        }
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Failure::wrong(format!("cannot write {}: {error}", path.display()), ""))?;
    }
    let file = folder.join("pipeline.toml");
    out.line(format!("wrote {0}; try: gazal-pipe run {0}", file.display()));
    Ok(Exit::Done)
}
