//! The hub, against a server that speaks its interface over a socket.

use std::fs;
use std::path::Path;

use sha2::Digest;
use tempfile::TempDir;

use super::server::{Behaviour, COMMIT, Server, hex};
use crate::hub::{Hub, HubError, Listener, RemoteFile, Repo, RepoKind, cached_at};

const SECRET: &str = "hf_secret";

fn repo() -> Repo {
    Repo { kind: RepoKind::Model, id: "o/m".into() }
}

fn large() -> Vec<u8> {
    (0..200_000_u32).flat_map(|index| (index * 7).to_le_bytes()).collect()
}

fn server(behaviour: Behaviour) -> Server {
    Server::with(&[("config.json", b"{}"), ("a b/empty.txt", b""), ("model.safetensors", &large())], behaviour)
}

/// A hub that sees nothing of this machine's own settings.
fn hub(server: &Server, cache: &Path) -> Hub {
    cached_at(&server.url, Some(SECRET), cache, false).unwrap()
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> std::path::PathBuf {
        self.dir.path().join("cache/hub")
    }

    fn fetch(&self, hub: &Hub, file: &RemoteFile, cancelled: &dyn Fn() -> bool) -> Result<(bool, u64), HubError> {
        let mut bytes = 0;
        let mut heard = |count| bytes += count;
        let mut listener = Listener { heard: &mut heard, cancelled };
        let came = hub.fetch((&repo(), COMMIT), file, &self.dir.path().join(&file.name), &mut listener)?;
        Ok((came, bytes))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }
}

fn file(hub: &Hub, name: &str) -> RemoteFile {
    hub.files(&repo(), COMMIT).unwrap().into_iter().find(|file| file.name == name).unwrap()
}

#[test]
fn a_revision_is_a_commit_with_files() {
    let (server, place) = (server(Behaviour { busy: 2, ..Behaviour::default() }), Place::new());
    let hub = hub(&server, &place.cache());
    assert_eq!(hub.resolve(&repo(), "main").unwrap(), COMMIT);
    assert_eq!(hub.resolve(&repo(), "refs/pr/1").unwrap(), COMMIT);
    assert!(matches!(hub.resolve(&repo(), "no-such"), Err(HubError::Absent(what)) if what == "o/m@no-such"));
    server.seen();
    assert_eq!(hub.resolve(&repo(), COMMIT).unwrap(), COMMIT);
    assert_eq!(server.seen().len(), 0, "a commit is known without asking");
    let names: Vec<String> = hub.files(&repo(), COMMIT).unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["a b/empty.txt", "config.json", "model.safetensors"]);
    for name in &names {
        assert!(place.fetch(&hub, &file(&hub, name), &|| false).unwrap().0);
    }
    assert_eq!((place.read("model.safetensors"), place.read("a b/empty.txt")), (large(), Vec::new()));
    assert_eq!(place.fetch(&hub, &file(&hub, "model.safetensors"), &|| false).unwrap(), (false, 0), "it is there");
}

#[test]
fn what_breaks_off_is_gone_on_with() {
    let (server, place) = (server(Behaviour { breaks_after: Some(300_000), ..Behaviour::default() }), Place::new());
    let hub = hub(&server, &place.cache());
    let model = file(&hub, "model.safetensors");
    server.seen();
    assert_eq!(place.fetch(&hub, &model, &|| false).unwrap(), (true, 800_000), "each byte came once");
    assert_eq!(place.read("model.safetensors"), large());
    let asked = server.seen();
    assert_eq!(asked.iter().filter(|line| line.to_lowercase().contains("range: bytes=")).count(), asked.len() - 1);
}

#[test]
fn a_part_of_an_earlier_attempt_is_gone_on_with_and_checked() {
    let (server, place) = (server(Behaviour::default()), Place::new());
    let hub = hub(&server, &place.cache());
    let model = file(&hub, "model.safetensors");
    let part = place.dir.path().join("model.safetensors.part");
    fs::write(&part, &large()[..500_000]).unwrap();
    assert_eq!(place.fetch(&hub, &model, &|| false).unwrap(), (true, 300_000));
    for wrong in [vec![0; 500_000], vec![0; 800_000], vec![0; 900_000]] {
        fs::remove_file(place.dir.path().join("model.safetensors")).unwrap();
        fs::write(&part, wrong).unwrap();
        place.fetch(&hub, &model, &|| false).unwrap();
        assert_eq!(place.read("model.safetensors"), large());
    }
    fs::write(place.dir.path().join("model.safetensors"), b"altered").unwrap();
    server.behave(Behaviour { ignores_ranges: true, breaks_after: None, ..Behaviour::default() });
    fs::write(&part, &large()[..500_000]).unwrap();
    assert_eq!(place.fetch(&hub, &model, &|| false).unwrap(), (true, 800_000), "it was sent from its start");
    assert_eq!(place.read("model.safetensors"), large());
}

#[test]
fn a_stop_keeps_what_came_in() {
    let (server, place) = (server(Behaviour::default()), Place::new());
    let hub = hub(&server, &place.cache());
    let model = file(&hub, "model.safetensors");
    let part = place.dir.path().join("model.safetensors.part");
    let stop = || fs::metadata(&part).is_ok_and(|found| found.len() > 0);
    assert!(matches!(place.fetch(&hub, &model, &stop), Err(HubError::Cancelled)));
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && kept < 800_000);
    assert_eq!(place.fetch(&hub, &model, &|| false).unwrap().1, 800_000 - kept);
}

#[test]
fn the_token_is_shown_to_the_hub_alone() {
    let elsewhere = server(Behaviour::default());
    let behaviour =
        Behaviour { token: Some(SECRET.into()), elsewhere: Some(elsewhere.url.clone()), ..Behaviour::default() };
    let (server, place) = (server(behaviour), Place::new());
    let hub = hub(&server, &place.cache());
    place.fetch(&hub, &file(&hub, "model.safetensors"), &|| false).unwrap();
    assert!(server.seen().iter().all(|line| line.contains(SECRET)));
    let seen = elsewhere.seen();
    assert!(seen.len() == 1 && !seen[0].to_lowercase().contains("authorization"), "{seen:?}");
    let other = cached_at(&server.url, Some("wrong"), &place.cache(), false).unwrap();
    let refused = other.resolve(&repo(), "main").unwrap_err();
    assert!(matches!(refused, HubError::Denied(_)) && !refused.to_string().contains("wrong"), "{refused}");
}

#[test]
fn what_is_altered_on_its_way_is_refused() {
    let (server, place) = (server(Behaviour { lies: true, ..Behaviour::default() }), Place::new());
    let hub = hub(&server, &place.cache());
    for name in ["model.safetensors", "config.json"] {
        let told = place.fetch(&hub, &file(&hub, name), &|| false);
        assert!(matches!(told, Err(HubError::Damaged(_))), "{told:?}");
        assert!(!place.dir.path().join(name).exists());
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    let (server, place) = (Server::with(&[("../outside", b"x")], Behaviour::default()), Place::new());
    let told = hub(&server, &place.cache()).files(&repo(), COMMIT);
    assert!(matches!(&told, Err(HubError::Unreadable { what, .. }) if what == "../outside"), "{told:?}");
}

#[test]
fn what_the_users_cache_has_is_taken_from_there() {
    let (server, place) = (server(Behaviour::default()), Place::new());
    let folder = place.cache().join("models--o--m");
    let digest = hex(&sha2::Sha256::digest(large()));
    for inner in ["blobs", "refs", &format!("snapshots/{COMMIT}")] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    fs::write(folder.join("blobs").join(&digest), large()).unwrap();
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    let link = folder.join("snapshots").join(COMMIT).join("model.safetensors");
    std::os::unix::fs::symlink(format!("../../blobs/{digest}"), link).unwrap();
    let online = hub(&server, &place.cache());
    assert!(!place.fetch(&online, &file(&online, "model.safetensors"), &|| false).unwrap().0);
    assert_eq!(place.read("model.safetensors"), large());
    let offline = cached_at("http://127.0.0.1:9", None, &place.cache(), true).unwrap();
    assert_eq!(offline.resolve(&repo(), "main").unwrap(), COMMIT);
    let files = offline.files(&repo(), COMMIT).unwrap();
    assert_eq!((files.len(), files[0].size), (1, Some(800_000)));
    fs::remove_file(place.dir.path().join("model.safetensors")).unwrap();
    assert!(!place.fetch(&offline, &files[0], &|| false).unwrap().0);
    let missing = offline.resolve(&repo(), "other").unwrap_err().to_string();
    assert!(missing.contains("o/m@other") && missing.contains("HF_HUB_OFFLINE"), "{missing}");
    fs::write(folder.join("blobs").join(&digest), b"altered").unwrap();
    fs::remove_file(place.dir.path().join("model.safetensors")).unwrap();
    assert!(matches!(place.fetch(&offline, &files[0], &|| false), Err(HubError::Offline { .. })));
}

#[test]
fn nobody_there_is_said() {
    let place = Place::new();
    let hub = cached_at("http://127.0.0.1:9", None, &place.cache(), false).unwrap();
    let told = hub.resolve(&repo(), "main").unwrap_err();
    assert!(matches!(told, HubError::Unreachable { .. }), "{told}");
    assert!(cached_at("not a url", None, &place.cache(), false).is_err());
}
