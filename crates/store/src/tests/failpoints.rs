//! Everything that the store writes, stopped at each single change of the disk: by the end of the process, by a disk
//! that is full, by one that is broken. Afterwards the store is opened again and nothing needs to be repaired: what is a
//! hit has the right bytes, nothing is damaged, and doing everything again ends as if nothing had happened.
//!
//! `GAZAL_POINTS=1` takes each fail point for the errors too, and not every fourth.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::recipes::Model;
use super::{Space, listing, receipt};
use crate::disk::point;
use crate::{Collect, Digest, Mode, Output, Remote, Settings, Store, StoreError};

/// Where a child works.
const PLACE: &str = "GAZAL_FAIL_PLACE";

/// The name of the test that is the child.
const CHILD: &str = "tests::failpoints::all_that_is_written_can_be_written_again";

const NO_SPACE: i32 = 28;
const BROKEN: i32 = 5;

/// Name of a store: its hits, and what their outputs have.
type Facts = BTreeMap<String, BTreeMap<String, String>>;

fn key(name: &str) -> Digest {
    Digest::of(format!("action {name}"))
}

/// The actions, and the folders that they make.
const ACTIONS: [(&str, &[&str]); 4] =
    [("two", &["made", "other"]), ("base", &["base"]), ("tuned", &["tuned"]), ("passing", &["passing"])];

/// What the user's folders have.
fn prepare() -> Space {
    // Nothing here needs a disk that lasts.
    let memory = Path::new("/dev/shm");
    let space = Space::at(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap());
    space.folder("made", &[("a.txt", "alpha"), ("again.txt", "alpha"), ("deep/b.txt", "beta")]);
    space.folder("other", &[("log.txt", "something happened\n")]);
    space.folder("passing", &[("p.txt", "not for long")]);
    fs::set_permissions(space.path("made/a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    let base = Model::coarse(0);
    base.write(&space, "base");
    base.but(&[2], 100).write(&space, "tuned");
    space
}

/// Does everything that writes, one after the other, on whatever an earlier attempt has left.
fn scenario(place: &Path) -> Result<(), StoreError> {
    let store = Store::open(&place.join("store"))?;
    for (name, folders) in ACTIONS {
        let mut publication = store.publication();
        let mut receipt = receipt(publication.put_tree(&place.join(folders[0]), &|_| None)?);
        for folder in &folders[1..] {
            let artifact = publication.put_tree(&place.join(folder), &|_| None)?;
            receipt
                .outputs
                .insert(folder.to_string(), Output { artifact, kind: "files".into(), role: "record".into() });
        }
        publication.publish(&key(name), &receipt)?;
        store.publish_deep(&key("deep"), &key(name))?;
    }
    read(&store, place)?;
    store.digest_path(&place.join("made"))?;
    store.memo_put("judge", &key("question"), b"answer")?;
    store.wip(&key("two"))?;
    store.clear_wip(&key("two"))?;
    store.new_run()?;
    store.pin("best", &key("two"))?;
    store.pin("second", &key("base"))?;
    store.unpin("second")?;
    share(&store, place)?;
    drop(store);
    // Another process, which holds nothing of this.
    let store = Store::open(&place.join("store"))?;
    store.remove(&key("passing"))?;
    let all = Collect { max_size: Some(0), grace: Duration::ZERO, keep_runs: Some(1), ..Collect::default() };
    store.collect(&all)?;
    Ok(())
}

/// A view, a copy of one's own, and a file that is stored as its parts.
fn read(store: &Store, place: &Path) -> Result<(), StoreError> {
    for name in ["two", "tuned"] {
        let made = store.made(&key(name))?.expect("it was published");
        store.view(&made.output("out").unwrap().artifact)?;
        let copy = place.join("copy");
        if copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        store.restore(&made.output("out").unwrap().artifact, &copy)?;
    }
    Ok(())
}

/// To other stores: by a bundle, and through a remote.
fn share(store: &Store, place: &Path) -> Result<(), StoreError> {
    let mut bundle = Vec::new();
    store.export(&[key("two"), key("tuned")], &mut bundle)?;
    Store::open(&place.join("imported"))?.import(&mut bundle.as_slice())?;

    let remote = |mode| {
        let url = place.join("remote").display().to_string();
        Remote::open(Settings { url, mode, ..Settings::default() })
    };
    let writer = store.clone().attach(remote(Mode::ReadWrite)?);
    let reader = Store::open(&place.join("pulled"))?;
    reader.trust("writer", &writer.public_key()?)?;
    for name in ["two", "tuned"] {
        writer.push(&key(name))?;
        reader.clone().attach(remote(Mode::Read)?).pull(&key(name))?;
    }
    writer.push_deep(&key("deep")).map(drop)
}

/// What the stores have, all of it looked at. Nothing may be damaged, and no hit may be wrong.
fn facts(place: &Path) -> Facts {
    let mut facts = Facts::new();
    for name in ["store", "imported", "pulled"] {
        if !place.join(name).exists() {
            continue;
        }
        let store = Store::open(&place.join(name)).unwrap();
        assert_eq!(store.verify().unwrap(), [], "{name}");
        let mut hits = BTreeMap::new();
        for (action, folders) in ACTIONS {
            let Some(receipt) = store.hit(&key(action)).unwrap() else { continue };
            for output in receipt.outputs.values() {
                let view = listing(&store.view(&output.artifact).unwrap());
                assert!(folders.iter().any(|folder| listing(&place.join(folder)) == view), "{name}: {action}");
            }
            hits.insert(action.to_string(), format!("{:?}", receipt.outputs));
        }
        facts.insert(name.to_string(), hits);
    }
    facts
}

/// How a child ended.
#[derive(Debug)]
enum Ended {
    Killed,
    /// With this error, or none; and how many fail points it has passed.
    Told(Option<String>, u64),
}

fn child(place: &Path, at: u64, errno: Option<i32>) -> Ended {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--nocapture", "--test-threads=1"]).env(PLACE, place);
    command.env(point::AT, at.to_string()).envs(errno.map(|errno| (point::HOW, errno.to_string())));
    let output = command.output().unwrap();
    match fs::read_to_string(place.join("told")) {
        Ok(told) => {
            fs::remove_file(place.join("told")).unwrap();
            let (passed, error) = told.split_once(' ').unwrap();
            Ended::Told((!error.is_empty()).then(|| error.to_string()), passed.parse().unwrap())
        }
        Err(_) => {
            assert!(!output.status.success(), "the child has said nothing");
            assert!(errno.is_none(), "{}", String::from_utf8_lossy(&output.stdout));
            Ended::Killed
        }
    }
}

/// The child, where `place` is given; else everything without a fault, twice.
#[test]
fn all_that_is_written_can_be_written_again() {
    if let Some(place) = env::var_os(PLACE).map(PathBuf::from) {
        let error = scenario(&place).err().map(|error| error.to_string()).unwrap_or_default();
        fs::write(place.join("told"), format!("{} {error}", point::passed())).unwrap();
        return;
    }
    let space = prepare();
    scenario(space.dir.path()).unwrap();
    let first = facts(space.dir.path());
    let names = |store: &str| first[store].keys().cloned().collect::<Vec<_>>();
    assert_eq!((names("store"), names("pulled")), (vec!["two".to_string()], vec!["tuned".into(), "two".into()]));
    assert_eq!(first["imported"], first["pulled"]);
    scenario(space.dir.path()).unwrap();
    assert_eq!(facts(space.dir.path()), first);
}

/// Stops at each of these points, looks at what is left, and does everything again. The number of points.
fn sweep(first: u64, step: u64, errno: Option<i32>) -> u64 {
    let expected = {
        let space = prepare();
        scenario(space.dir.path()).unwrap();
        facts(space.dir.path())
    };
    for at in (first..).step_by(usize::try_from(step).unwrap()) {
        let space = prepare();
        let place = space.dir.path();
        match child(place, at, errno) {
            Ended::Told(None, passed) if passed < at => return passed,
            Ended::Told(Some(error), _) => {
                assert!(error.contains(place.to_str().unwrap()), "point {at}: no path in `{error}`");
            }
            Ended::Told(None, _) | Ended::Killed => {}
        }
        facts(place);
        scenario(place).unwrap_or_else(|error| panic!("point {at}: {error}"));
        assert_eq!(facts(place), expected, "point {at}");
    }
    0
}

/// The same by two threads.
fn sweep_all(step: u64, errno: Option<i32>) {
    let points = thread::scope(|scope| {
        let halves = [1, 1 + step].map(|first| scope.spawn(move || sweep(first, 2 * step, errno)));
        halves.into_iter().map(|half| half.join().unwrap()).max()
    });
    println!("{points:?} fail points, errno {errno:?}");
    assert!(points > Some(300), "{points:?}: the scenario writes more than that");
}

fn step() -> u64 {
    env::var("GAZAL_POINTS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[test]
fn a_process_that_dies_at_any_change_leaves_nothing_to_repair() {
    sweep_all(1, None);
}

#[test]
fn a_disk_that_is_full_at_any_change_is_named_and_leaves_nothing_to_repair() {
    sweep_all(step(), Some(NO_SPACE));
}

#[test]
fn a_disk_that_breaks_at_any_change_is_named_and_leaves_nothing_to_repair() {
    sweep_all(step(), Some(BROKEN));
}
