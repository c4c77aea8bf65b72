//! The lock file beside a pipeline, `NAME.lock`: which commit each revision of the hub stood at when it was first
//! asked for, so that every later run, here or elsewhere, reads the same. It belongs with the pipeline into version
//! control. A line that is taken out is asked for again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use gazal_net::is_commit;
use gazal_stage_api::Pin;
use serde::{Deserialize, Serialize};

const HEAD: &str = "# Which commit each revision stood at when it was first asked for. Take a line out to ask again.\n";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// `models/OWNER/NAME@REVISION` to a commit.
    pins: BTreeMap<String, String>,
}

/// The pins of a pipeline.
pub(crate) struct Lock {
    path: PathBuf,
    /// Read when the first pin is asked for: few pipelines have any.
    contents: RefCell<Option<Contents>>,
    asks: Cell<bool>,
}

impl Lock {
    pub fn beside(pipeline: &Path) -> Lock {
        Lock { path: pipeline.with_extension("lock"), contents: RefCell::default(), asks: Cell::new(false) }
    }

    /// From now on, what is not known is asked for and written down: this is a run.
    pub fn ask(&self) {
        self.asks.set(true);
    }

    /// What a pin stands at.
    pub fn at(&self, pin: &Pin) -> Result<Option<String>, String> {
        match self.known(pin)? {
            None if self.asks.get() => self.find(pin).map(Some),
            known => Ok(known),
        }
    }

    fn known(&self, pin: &Pin) -> Result<Option<String>, String> {
        if is_commit(&pin.revision) {
            return Ok(Some(pin.revision.clone()));
        }
        if self.contents.borrow().is_none() {
            *self.contents.borrow_mut() = Some(read(&self.path)?);
        }
        Ok(self.contents.borrow().as_ref().and_then(|contents| contents.pins.get(&name(pin)).cloned()))
    }

    fn find(&self, pin: &Pin) -> Result<String, String> {
        let asked =
            gazal_stages::resolve(pin).ok_or_else(|| format!("nobody can say what `{}` stands at", pin.what))?;
        let commit = asked?;
        if let Some(contents) = self.contents.borrow_mut().as_mut() {
            contents.pins.insert(name(pin), commit.clone());
            write(&self.path, contents)
                .map_err(|why| format!("{why}; or name the commit as the revision: {commit}"))?;
        }
        Ok(commit)
    }
}

fn name(pin: &Pin) -> String {
    format!("{}@{}", pin.what, pin.revision)
}

fn read(path: &Path) -> Result<Contents, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        Ok(text) => text,
    };
    toml::from_str(&text).map_err(|error| format!("{} is no lock file: {}", path.display(), error.message()))
}

/// Whole or not at all.
fn write(path: &Path, contents: &Contents) -> Result<(), String> {
    let unwritable = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let text = toml::to_string(contents).map_err(|error| error.to_string())?;
    let new = path.with_extension("lock.new");
    let mut file = fs::File::create(&new).map_err(unwritable)?;
    file.write_all(format!("{HEAD}{text}").as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
    fs::rename(&new, path).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_was_found_is_known_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = dir.path().join("p.toml");
        let pin = Pin { what: "models/o/m".into(), revision: "main".into() };
        assert_eq!(Lock::beside(&pipeline).at(&pin).unwrap(), None);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            Lock::beside(&pipeline).at(&Pin { revision: commit.into(), ..pin.clone() }).unwrap().unwrap(),
            commit
        );
        let contents = Contents { pins: [("models/o/m@main".to_string(), commit.to_string())].into() };
        write(&dir.path().join("p.lock"), &contents).unwrap();
        assert_eq!(Lock::beside(&pipeline).at(&pin).unwrap().unwrap(), commit);
        fs::write(dir.path().join("p.lock"), "pins = 3").unwrap();
        assert!(Lock::beside(&pipeline).at(&pin).unwrap_err().contains("p.lock is no lock file"));
    }
}
