//! Files that share tensors, to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Space, listing, receipt, rot};
use crate::recipe::Recipe;
use crate::{Artifact, Collect, Digest, StoreError};

const TENSORS: usize = 12;

/// The bytes of a tensor: no two with different seeds are alike.
fn tensor(seed: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A model whose tensors have these seeds: the last of 100 bytes.
pub(super) struct Model {
    seeds: Vec<usize>,
    /// Between header and data, and behind: not what the format's own library writes.
    slack: usize,
    /// The bytes of every tensor but the last.
    each: usize,
}

impl Model {
    pub(super) fn new(first: usize) -> Model {
        Model { seeds: (first..first + TENSORS).collect(), slack: 0, each: 1 << 17 }
    }

    /// With few large tensors.
    pub(super) fn coarse(first: usize) -> Model {
        Model { seeds: (first..first + 4).collect(), slack: 0, each: 1 << 19 }
    }

    /// With other tensors in these places.
    pub(super) fn but(&self, places: &[usize], first: usize) -> Model {
        let mut seeds = self.seeds.clone();
        places.iter().enumerate().for_each(|(index, &place)| seeds[place] = first + index);
        Model { seeds, ..*self }
    }

    fn tensors(&self) -> Vec<Vec<u8>> {
        let last = self.seeds.len() - 1;
        let length = |index| if index == last { 100 } else { self.each };
        self.seeds.iter().enumerate().map(|(index, &seed)| tensor(seed, length(index))).collect()
    }

    /// The header alone, with its length.
    fn header(&self) -> Vec<u8> {
        let (mut entries, mut at) = (BTreeMap::new(), self.slack);
        for (index, bytes) in self.tensors().iter().enumerate() {
            let span = [at, at + bytes.len()];
            entries.insert(
                format!("layers.{index}"),
                serde_json::json!({"dtype": "U8", "shape": [bytes.len()], "data_offsets": span}),
            );
            at += bytes.len();
        }
        let text = serde_json::to_vec(&entries).unwrap();
        [(text.len() as u64).to_le_bytes().as_slice(), &text].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        let slack = vec![b'~'; self.slack];
        [self.header(), slack.clone(), self.tensors().concat(), slack].concat()
    }

    /// A folder with it.
    pub(super) fn write(&self, space: &Space, name: &str) -> PathBuf {
        let folder = space.folder(name, &[("config.json", "{}")]);
        fs::write(folder.join("model.safetensors"), self.bytes()).unwrap();
        folder
    }

    /// Stored and published under its name, by a process that has ended.
    fn publish(&self, space: &Space, name: &str) -> Artifact {
        let store = space.reopen();
        let artifact = store.put_tree(&self.write(space, name), &|_| None).unwrap();
        store.publish(&Digest::of(name), &receipt(artifact)).unwrap();
        artifact
    }
}

/// What these models' distinct tensors, headers and manifests amount to, with the one small file they have.
fn exact(space: &Space, models: &[(&Model, Artifact)]) -> u64 {
    let mut distinct = BTreeMap::from([(Digest::of("{}"), 2)]);
    for (model, artifact) in models {
        for bytes in model.tensors().iter().chain([&model.header()]) {
            distinct.insert(Digest::of(bytes), bytes.len() as u64);
        }
        distinct.insert(artifact.bytes, fs::metadata(space.store.blob_path(&artifact.bytes)).unwrap().len());
    }
    distinct.values().sum()
}

fn stored(space: &Space) -> u64 {
    space.store.usage().unwrap().part("blobs").unwrap().bytes
}

fn is_whole(space: &Space, model: &Model) -> bool {
    space.store.blob_path(&Digest::of(model.bytes())).exists()
}

fn assert_readable(space: &Space, artifact: &Artifact, folder: &Path, name: &str) {
    assert_eq!(listing(&space.reopen().view(artifact).unwrap()), listing(folder));
    let copy = space.path(&format!("copy-{name}"));
    space.store.restore(artifact, &copy).unwrap();
    assert_eq!(listing(&copy), listing(folder));
}

#[test]
fn a_chain_of_models_stores_each_distinct_tensor_once() {
    let space = Space::new();
    let base = Model::new(0);
    let sft = base.but(&[2, 5, 11], 100);
    let grpo = sft.but(&[5], 200);
    let merged = grpo.but(&[0, 1, 2, 3, 4, 6, 7, 8, 9], 300);
    let mut models = vec![(&base, base.publish(&space, "base"))];
    assert!(is_whole(&space, &base), "the first is stored whole");
    assert_eq!(stored(&space), exact(&space, &models));
    let view = space.store.view(&models[0].1).unwrap();
    for (model, name) in [(&sft, "sft"), (&grpo, "grpo"), (&merged, "merged")] {
        models.push((model, model.publish(&space, name)));
        assert_eq!(stored(&space), exact(&space, &models), "{name}");
        assert!(!is_whole(&space, model) && !is_whole(&space, &base), "{name}");
    }
    assert_eq!(listing(&view), listing(&space.path("base")), "a view outlives its file's being taken apart");
    for ((_, artifact), name) in models.iter().zip(["base", "sft", "grpo", "merged"]) {
        assert!(space.reopen().hit(&Digest::of(name)).unwrap().is_some());
        assert!(space.reopen().made(&Digest::of(name)).unwrap().is_some());
        assert_eq!(space.put(&space.path(name)), *artifact);
        assert_readable(&space, artifact, &space.path(name), name);
    }
    assert_eq!(stored(&space), exact(&space, &models), "nothing was stored again");
    assert!(space.store.verify().unwrap().is_empty());
}

#[test]
fn a_closure_is_the_parts_and_a_collection_leaves_exactly_what_is_needed() {
    let space = Space::new();
    let (base, other) = (Model::new(0), Model::new(1000));
    let sft = base.but(&[3], 100);
    let artifacts = [base.publish(&space, "base"), sft.publish(&space, "sft"), other.publish(&space, "other")];
    assert!(is_whole(&space, &other), "it shares nothing");
    let closure = space.store.closure(&artifacts[1]).unwrap();
    assert_eq!(closure.iter().map(|(_, size)| size).sum::<u64>(), exact(&space, &[(&sft, artifacts[1])]));
    assert_eq!(closure.len(), 1 + 1 + 1 + TENSORS);
    assert_eq!(space.store.split_files(&artifacts[1]).unwrap(), [Digest::of(sft.bytes())]);
    assert!(space.store.split_files(&artifacts[2]).unwrap().is_empty());

    drop(space.reopen().remove(&Digest::of("base")).unwrap());
    let tree = fs::metadata(space.store.blob_path(&artifacts[2].bytes)).unwrap().len();
    let whole = other.bytes().len() as u64 + tree;
    assert_eq!(stored(&space), exact(&space, &[(&sft, artifacts[1])]) + whole);
    let collect = Collect { grace: Duration::ZERO, ..Collect::default() };
    assert_eq!(space.reopen().collect(&collect).unwrap().removed["recipes"].count, 1);
    assert!(space.reopen().hit(&Digest::of("sft")).unwrap().is_some());
    let all = Collect { max_size: Some(0), ..collect };
    space.reopen().collect(&all).unwrap();
    let usage = space.store.usage().unwrap();
    assert_eq!((usage.part("blobs").unwrap().files, usage.part("recipes").unwrap().files), (0, 0));
}

#[test]
fn files_that_share_little_are_small_or_no_models_are_stored_whole() {
    let space = Space::new();
    let base = Model::new(0);
    base.publish(&space, "base");
    let little = base.but(&(0..11).collect::<Vec<_>>(), 100);
    little.publish(&space, "little");
    assert!(is_whole(&space, &base) && is_whole(&space, &little), "the last tensor alone is no reason");

    for (name, bytes) in
        [("broken.safetensors", [base.bytes(), vec![0]].concat()[9..].to_vec()), ("model.bin", base.bytes())]
    {
        let folder = space.folder(name, &[]);
        fs::write(folder.join(name), &bytes).unwrap();
        let artifact = space.put(&folder);
        assert!(space.store.blob_path(&Digest::of(&bytes)).exists(), "{name}");
        assert_readable(&space, &artifact, &folder, name);
    }
    assert!(is_whole(&space, &base));
}

#[test]
fn gaps_and_bytes_behind_the_last_tensor_come_back_and_tensors_that_repeat_lie_there_once() {
    let space = Space::new();
    let model = Model { slack: 1000, ..Model::new(0).but(&[1, 2, 3], 0).but(&[1, 2, 3], 0) };
    let repeated = Model { seeds: vec![7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9], slack: 1000, each: 1 << 17 };
    for (name, model) in [("model", &model), ("repeated", &repeated)] {
        let artifact = model.publish(&space, name);
        assert_readable(&space, &artifact, &space.path(name), name);
    }
    assert!(!is_whole(&space, &repeated));
    let parts = space.store.recipe(&Digest::of(repeated.bytes())).unwrap().unwrap().parts;
    assert_eq!(parts.len(), 1 + 1 + TENSORS + 1);
    assert!(space.store.verify().unwrap().is_empty());
}

#[test]
fn a_bundle_of_split_files_carries_each_tensor_once() {
    let space = Space::new();
    let base = Model::new(0);
    let sft = base.but(&[3], 100);
    let artifacts = [base.publish(&space, "base"), sft.publish(&space, "sft")];
    let keys = [Digest::of("base"), Digest::of("sft")];
    let (mut bundle, to) = (Vec::new(), Space::new());
    space.store.export(&keys, &mut bundle).unwrap();
    let imported = to.store.import(&mut bundle.as_slice()).unwrap();
    assert_eq!((imported.receipts.len(), imported.bytes), (2, stored(&space)));
    assert_eq!(imported.bytes, exact(&space, &[(&base, artifacts[0]), (&sft, artifacts[1])]));
    for (artifact, name) in artifacts.iter().zip(["base", "sft"]) {
        assert_readable(&to, artifact, &space.path(name), name);
    }
    assert!(to.store.verify().unwrap().is_empty());
}

#[test]
fn a_rotten_tensor_is_damage_to_all_that_have_it_and_is_made_again_once() {
    let space = Space::new();
    let base = Model::new(0);
    let sft = base.but(&[3], 100);
    let artifacts = [base.publish(&space, "base"), sft.publish(&space, "sft")];
    let shared = Digest::of(tensor(0, 1 << 17));
    rot(&space.store.blob_path(&shared));
    let error = space.reopen().view(&artifacts[1]).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { digest, .. } if digest == shared), "{error}");
    for name in ["base", "sft"] {
        assert!(space.reopen().hit(&Digest::of(name)).unwrap().is_none());
    }
    assert_eq!(space.put(&space.path("sft")), artifacts[1]);
    for (artifact, name) in artifacts.iter().zip(["base", "sft"]) {
        assert!(space.reopen().hit(&Digest::of(name)).unwrap().is_some());
        assert_readable(&space, artifact, &space.path(name), name);
    }
}

#[test]
fn a_recipe_that_does_not_make_its_file_is_damage() {
    let space = Space::new();
    let base = Model::new(0);
    let sft = base.but(&[3], 100);
    let artifacts = [base.publish(&space, "base"), sft.publish(&space, "sft")];
    let file = Digest::of(sft.bytes());
    let mut parts = space.store.recipe(&file).unwrap().unwrap().parts;
    parts.swap(1, 2);
    space.store.write_recipe(&file, &Recipe { parts }).unwrap();
    assert!(space.reopen().hit(&Digest::of("sft")).unwrap().is_some(), "sizes cannot tell, so the bytes must");
    assert_eq!(space.store.verify().unwrap().len(), 2, "the file, and the receipt that needs it");
    assert!(space.reopen().hit(&Digest::of("sft")).unwrap().is_none());
    assert_eq!(space.put(&space.path("sft")), artifacts[1]);
    assert_readable(&space, &artifacts[1], &space.path("sft"), "sft");

    let path = space.store.sharded("recipes", &Digest::of(base.bytes()));
    let text = fs::read_to_string(&path).unwrap();
    for broken in [text[..text.len() / 2].to_string(), String::new(), text.replacen(' ', "  ", 1)] {
        fs::write(&path, broken).unwrap();
        assert!(space.reopen().hit(&Digest::of("base")).unwrap().is_none());
    }
}

/// Every model is taken apart or stored as parts while all that nothing refers to is removed again and again.
#[test]
fn models_that_are_split_beside_a_collection_stay_whole() {
    let (space, done) = (Space::new(), AtomicBool::new(false));
    let base = Model::new(0);
    let models: Vec<Model> = (0..6).map(|i| base.but(&[i], 100 * (i + 1))).collect();
    thread::scope(|scope| {
        let publish = |at: usize| {
            models[at].publish(&space, &format!("{at}"));
        };
        let writers = [0, 1, 2].map(|first| scope.spawn(move || [first, first + 3].into_iter().for_each(publish)));
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let collect = Collect { grace: Duration::ZERO, ..Collect::default() };
                space.reopen().collect(&collect).unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap();
    });
    for at in 0..models.len() {
        let receipt = space.reopen().hit(&Digest::of(format!("{at}"))).unwrap().unwrap();
        assert_readable(&space, &receipt.outputs["out"].artifact, &space.path(&format!("{at}")), &format!("{at}"));
    }
    assert!(space.store.verify().unwrap().is_empty());
}
