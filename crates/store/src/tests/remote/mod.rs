//! Stores that share results through a remote: an S3 service over HTTP, and a folder.

mod faults;
mod losses;
mod pushing;
mod reading;
mod server;
mod trust;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Space, listing, receipt};
use crate::remote::{Patience, Settings};
use crate::{Artifact, Digest, Mode, PublicKey, Receipt, Remote, SigningKey, folder};
use server::{ACCESS, BUCKET, SECRET, Server, Weather, Wire};

/// A remote and the place where its objects lie as files.
struct Site {
    _dir: TempDir,
    objects: PathBuf,
    settings: Settings,
    service: Option<(Server, Wire)>,
}

impl Site {
    fn s3() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let wire = Wire::to(server.address);
        let options = [
            ("AWS_ENDPOINT", format!("http://{}", wire.address)),
            ("AWS_ACCESS_KEY_ID", ACCESS.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_PROFILE", "what the service does not know is passed over".into()),
        ];
        let settings = Settings {
            url: format!("s3://{BUCKET}/some/where"),
            options: options.map(|(name, value)| (name.to_string(), value)).into(),
            patience: patience(),
            ..Settings::default()
        };
        Site { objects: dir.path().join(BUCKET).join("some/where"), _dir: dir, settings, service: Some((server, wire)) }
    }

    fn folder() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().join("shared");
        let settings = Settings { url: objects.display().to_string(), patience: patience(), ..Settings::default() };
        Site { _dir: dir, objects, settings, service: None }
    }

    fn both() -> [Site; 2] {
        [Site::s3(), Site::folder()]
    }

    fn remote(&self, mode: Mode) -> Remote {
        Remote::open(Settings { mode, ..self.settings.clone() }).unwrap()
    }

    /// A machine with a store of its own that gives and takes.
    fn machine(&self) -> Space {
        self.machine_in(Mode::ReadWrite)
    }

    fn machine_in(&self, mode: Mode) -> Space {
        let mut space = Space::new();
        space.store = space.store.clone().attach(self.remote(mode));
        space
    }

    /// A new machine that only takes, and believes this one.
    fn reader(&self, of: &Space) -> Space {
        let space = self.machine_in(Mode::Read);
        space.believe(of);
        space
    }

    fn wire(&self) -> &Wire {
        &self.service.as_ref().unwrap().1
    }

    fn stop(&mut self) {
        self.service.as_mut().unwrap().0.stop();
    }

    /// The files of all objects whose names begin so.
    fn files(&self, under: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let below = self.objects.join("v1").join(under);
        folder::each_file(&below, &mut |path, _| files.push(path.to_path_buf())).unwrap();
        files
    }

    /// The file of a blob.
    fn blob(&self, text: &str) -> PathBuf {
        let hex = Digest::of(text).hex();
        self.objects.join("v1/blobs").join(&hex[..2]).join(hex)
    }

    /// The file of what a principal says about a key.
    fn receipt(&self, key: &Digest, principal: &PublicKey) -> PathBuf {
        let hex = key.hex();
        self.objects.join("v1/receipts").join(&hex[..2]).join(hex).join(principal.id())
    }
}

/// Long enough for a loaded machine, and for a test that waits it out on purpose short enough.
fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(20),
        silence: Duration::from_secs(20),
        retries: 2,
        pause: Duration::from_millis(2),
        rest: Duration::from_secs(600),
    }
}

impl Space {
    fn believe(&self, other: &Space) {
        self.store.trust("other", &other.store.public_key().unwrap()).unwrap();
    }

    fn remote(&self) -> &Remote {
        self.store.remote().unwrap()
    }

    /// The same store in another process: nothing remembered.
    fn again(&self, site: &Site, mode: Mode) -> crate::Store {
        self.reopen().attach(site.remote(mode))
    }

    /// Makes an artifact with these files and publishes it here.
    fn make(&self, key: &Digest, files: &[(&str, &str)]) -> Receipt {
        let name = format!("made-{}", key.short());
        let _ = fs::remove_dir_all(self.path(&name));
        let receipt = receipt(self.put(&self.folder(&name, files)));
        self.store.publish(key, &receipt).unwrap();
        receipt
    }

    /// The same, and gives it to the remote.
    fn share(&self, key: &Digest, files: &[(&str, &str)]) -> Receipt {
        let receipt = self.make(key, files);
        self.store.push(key).unwrap().unwrap();
        receipt
    }
}

fn artifact(receipt: &Receipt) -> Artifact {
    receipt.outputs["out"].artifact
}

/// What `listing` finds in a folder of these files.
fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, text) in files {
        let folders = name.match_indices('/').map(|(end, _)| (name[..=end].to_string(), String::new()));
        all.extend(folders.chain([(name.to_string(), text.to_string())]));
    }
    all
}

fn signing_key(seed: &str) -> SigningKey {
    Digest::of(seed).hex().parse().unwrap()
}

/// Noise that no compression makes smaller.
fn noise(seed: &str, length: usize) -> String {
    let block = |index: usize| Digest::of(format!("{seed}{index}")).hex();
    (0..length.div_ceil(64)).map(block).collect::<String>()[..length].to_string()
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Async stops at the door: what holds everywhere, as `crates/README.md` has it.
#[test]
fn only_the_door_names_the_runtime() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut named = Vec::new();
    folder::each_file(&sources, &mut |path, _| {
        let says = fs::read_to_string(path).unwrap().contains("tokio::");
        if says && !path.starts_with(sources.join("tests")) {
            named.push(path.strip_prefix(&sources).unwrap().to_path_buf());
        }
    })
    .unwrap();
    assert_eq!(named, [Path::new("remote/door.rs")]);
}
