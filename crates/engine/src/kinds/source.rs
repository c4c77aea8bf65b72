//! `source`: a file or folder of the user's, taken into the store by content.

use std::fs;
use std::io;
use std::path::Path;

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, StageError, Traits};
use serde::{Deserialize, Serialize};

pub struct Source;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceParams {
    /// The file or folder, relative to the pipeline file.
    pub path: String,
    /// What it is: `dataset`, `model`, ...
    #[serde(rename = "type", default = "files")]
    pub kind: PortType,
}

fn files() -> PortType {
    PortType::Files
}

impl Kind for Source {
    type Params = SourceParams;
    const NAME: &'static str = "source";
    const REVISION: u32 = 1;
    const DOC: &'static str = "a file or folder of your own, by content";
    const TRAITS: Traits = Traits { paths: &["path"], ..Traits::PLAIN };

    fn inputs(&self, _: &SourceParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, params: &SourceParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", params.kind, "the file under its own name, or the folder's content")]
    }

    fn run(&self, params: SourceParams, context: &mut Context) -> Result<(), StageError> {
        let from = context.paths("path").first().cloned();
        let from = from.ok_or_else(|| StageError::Params("path".into(), "points at nothing".into()))?;
        let to = context.output("out")?;
        let copied = if from.is_dir() { copy_folder(&from, to) } else { copy_file(&from, to) };
        copied.map_err(|error| StageError::failed(format!("cannot copy `{}`: {error}", params.path)))
    }
}

fn copy_file(from: &Path, folder: &Path) -> io::Result<()> {
    let name = from.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    fs::copy(from, folder.join(name)).map(drop)
}

/// Links are followed: the artifact holds what they point at.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if fs::metadata(entry.path())?.is_dir() {
            let below = to.join(entry.file_name());
            fs::create_dir(&below)?;
            copy_folder(&entry.path(), &below)?;
        } else {
            copy_file(&entry.path(), to)?;
        }
    }
    Ok(())
}
