//! Taking results from a remote.

use std::fs;

use super::server::serve_files;
use super::{Site, artifact, expected, listing, noise};
use crate::{Digest, Made, Mode, Store, StoreError};

const FILES: [(&str, &str); 3] = [("a.txt", "alpha"), ("deep/b.txt", "beta"), ("again", "alpha")];

#[test]
fn a_new_machine_gets_what_another_made() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        let made = here.share(&key, &FILES);
        let there = site.reader(&here);

        let receipt = there.store.hit(&key).unwrap().unwrap();
        assert_eq!(receipt, made);
        assert_eq!(there.store.made(&key).unwrap(), Some(Made::from(&made)));
        assert_eq!(there.store.receipt(&key).unwrap(), Some(made));
        assert!(!there.blob("alpha").exists(), "thin: the blobs come later");
        assert_eq!(there.store.tree(&artifact(&receipt)).unwrap().entries.len(), 3);
        assert_eq!(listing(&there.store.view(&artifact(&receipt)).unwrap()), expected(&FILES));
        there.store.restore(&artifact(&receipt), &there.path("copy")).unwrap();
        assert_eq!(listing(&there.path("copy")), expected(&FILES));
        assert!(there.remote().refused().is_empty() && there.remote().warning().is_none());

        let alone = there.reopen();
        assert!(alone.hit(&key).unwrap().is_some(), "all of it has been fetched");
        assert_eq!(listing(&alone.view(&artifact(&receipt)).unwrap()), expected(&FILES));
        assert!(alone.verify().unwrap().is_empty());
    }
}

#[test]
fn a_store_that_is_detached_works_with_what_it_has() {
    let site = Site::s3();
    let (here, keys) = (site.machine(), [Digest::of("1"), Digest::of("2")]);
    for (key, text) in keys.iter().zip(["one", "two"]) {
        here.share(key, &[("text", text)]);
    }
    let there = site.reader(&here);
    let receipts = keys.map(|key| there.store.hit(&key).unwrap().unwrap());
    there.store.view(&artifact(&receipts[0])).unwrap();

    let alone = there.store.clone().detach();
    assert!(alone.hit(&keys[0]).unwrap().is_some());
    assert!(alone.hit(&keys[1]).unwrap().is_none(), "its blobs never came");
    assert!(alone.receipt(&keys[1]).unwrap().is_some(), "what `explain` needs is here");
    let view = alone.view(&artifact(&receipts[1]));
    assert!(view.is_err_and(|error| error.is_damage()));
    assert!(alone.verify().unwrap().is_empty(), "a thin receipt is no damage");
    assert_eq!(alone.receipts().count(), 2);
    assert!(there.store.hit(&keys[1]).unwrap().is_some(), "and attached again it is a hit");

    alone.forget(&keys[1]).unwrap();
    assert!(alone.receipt(&keys[1]).unwrap().is_none());
}

/// A model's folder: names, and lengths in bytes.
const MODEL: [(&str, usize); 8] = [
    ("chat_template.jinja", 900),
    ("config.json", 700),
    ("generation_config.json", 150),
    ("model-00001-of-00002.safetensors", 300_000),
    ("model-00002-of-00002.safetensors", 200_000),
    ("model.safetensors.index.json", 2_000),
    ("tokenizer.json", 30_000),
    ("tokenizer_config.json", 1_000),
];

/// The figure that is promised: counted on the wire, with all that HTTP adds, in both directions.
#[test]
fn the_last_artifact_of_twenty_stages_costs_its_bytes_and_64_kib() {
    let site = Site::s3();
    let here = site.machine();
    let keys: Vec<Digest> = (0..20).map(|stage| Digest::of(format!("stage {stage}"))).collect();
    for (stage, key) in keys.iter().enumerate() {
        let texts = MODEL.map(|(name, length)| (name, noise(&format!("{name} {stage}"), length)));
        let files = texts.each_ref().map(|(name, text)| (*name, text.as_str()));
        let mut receipt = here.make(key, &files);
        receipt.manifest = manifest(stage);
        here.store.publish(key, &receipt).unwrap();
        here.store.push(key).unwrap().unwrap();
    }

    let (there, before) = (site.reader(&here), site.wire().bytes());
    let receipts: Vec<_> = keys.iter().map(|key| there.store.hit(key).unwrap().unwrap()).collect();
    let last = artifact(receipts.last().unwrap());
    let view = there.store.view(&last).unwrap();
    let artifact_size: u64 = there.store.closure(&last).unwrap().iter().map(|(_, size)| size).sum();

    let moved = site.wire().bytes() - before;
    let traffic = there.remote().traffic();
    assert_eq!(listing(&view).len(), MODEL.len());
    assert!(artifact_size > MODEL.iter().map(|(_, length)| *length as u64).sum());
    assert!(moved <= artifact_size + (64 << 10), "{} bytes beside the artifact", moved - artifact_size);
    assert!(traffic.received > artifact_size && traffic.received < moved, "{traffic:?} of {moved}");
    assert_eq!(traffic.requests, 1 + 20 + MODEL.len() as u64, "who publishes, the receipts, and the files");
    eprintln!("{moved} bytes on the wire: {} beside the artifact, {traffic:?}", moved - artifact_size);
}

/// As a training stage has it.
fn manifest(stage: usize) -> serde_json::Value {
    serde_json::json!({
        "format": 1, "kind": "sft", "revision": 3,
        "params": {
            "learning_rate": 1e-4 + stage as f64 * 1e-6, "optim": "exadam", "lora_r": 256, "use_dora": true,
            "use_rslora": true, "max_steps": 1200 + stage, "warmup_ratio": 0.03, "lr_scheduler_type": "cosine",
            "system_prompt": format!("You are a careful clinician, number {stage}. Think step by step, then answer."),
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        },
        "inputs": {
            "model": [Digest::of(format!("model {stage}"))],
            "dataset": [Digest::of(format!("rows {stage}")), Digest::of(format!("more rows {stage}"))],
        },
        "outputs": {"out": "model"}, "seed": 3407,
        "compute": {"backend": "cpu", "precision": "f32", "numerics": "burn-0.22.1/1"},
    })
}

#[test]
fn a_miss_is_asked_for_once_in_a_process() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        here.share(&Digest::of("another"), &FILES);
        let there = site.reader(&here);
        assert!(there.store.hit(&key).unwrap().is_none());
        let traffic = there.remote().traffic();
        assert!(there.store.hit(&key).unwrap().is_none() && there.store.receipt(&key).unwrap().is_none());
        assert_eq!(there.remote().traffic(), traffic);

        here.share(&key, &FILES);
        assert!(there.store.hit(&key).unwrap().is_none(), "still remembered");
        assert!(there.again(&site, Mode::Read).hit(&key).unwrap().is_some());
        assert!(there.store.pull(&key).unwrap().is_some(), "who asks explicitly is answered afresh");
    }
}

#[test]
fn many_receipts_are_foreseen_together() {
    let site = Site::s3();
    let here = site.machine();
    let keys: Vec<Digest> = (0..30).map(|number| Digest::of(format!("{number}"))).collect();
    keys[..20].iter().for_each(|key| {
        here.share(key, &FILES);
    });
    let there = site.reader(&here);
    there.store.foresee(&keys).unwrap();
    let traffic = there.remote().traffic();
    let hits = keys.iter().filter(|key| there.store.hit(key).unwrap().is_some()).count();
    assert_eq!((hits, there.remote().traffic()), (20, traffic), "nothing is asked twice");
    there.store.foresee(&keys).unwrap();
    assert_eq!(there.remote().traffic(), traffic);
}

#[test]
fn a_large_blob_goes_in_parts_and_comes_back_whole() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        let text = noise("large", (8 << 20) * 2 + 12_345);
        let made = here.share(&key, &[("large", &text)]);
        let there = site.reader(&here);
        assert_eq!(there.store.hit(&key).unwrap(), Some(made.clone()));
        let view = there.store.view(&artifact(&made)).unwrap();
        assert!(fs::read_to_string(view.join("large")).unwrap() == text);
    }
}

#[test]
fn pulled_results_are_the_store_s_own() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        let made = here.share(&key, &FILES);
        let there = site.reader(&here);
        assert_eq!(there.store.pull(&key).unwrap(), Some(made.clone()));
        assert!(there.store.pull(&Digest::of("nobody made this")).unwrap().is_none());
        let alone = there.reopen();
        fs::remove_dir_all(alone.root().join("remote")).unwrap();
        assert_eq!(alone.hit(&key).unwrap(), Some(made));
        assert!(alone.verify().unwrap().is_empty());
    }
}

#[test]
fn each_mode_does_what_it_says() {
    for site in Site::both() {
        let (here, key) = (site.machine_in(Mode::Write), Digest::of("key"));
        here.share(&key, &FILES);
        fs::remove_dir_all(here.store.root().join("receipts")).unwrap();
        assert!(here.store.hit(&key).unwrap().is_none(), "only writes");

        let there = site.reader(&here);
        there.make(&Digest::of("local"), &FILES);
        assert!(there.store.push(&Digest::of("local")).unwrap().is_none(), "only reads");
        assert!(there.store.hit(&key).unwrap().is_some());

        let off = site.machine_in(Mode::Off);
        off.believe(&here);
        off.make(&Digest::of("local"), &FILES);
        assert!(off.store.hit(&key).unwrap().is_none());
        assert!(off.store.push(&Digest::of("local")).unwrap().is_none());
        assert_eq!(off.remote().traffic().requests, 0);
    }
    for (text, mode) in [("read", Mode::Read), ("read-write", Mode::ReadWrite), ("write", Mode::Write)] {
        assert_eq!(text.parse::<Mode>().unwrap(), mode);
        assert_eq!(serde_json::to_value(mode).unwrap(), text);
    }
    assert!("rw".parse::<Mode>().unwrap_err().to_string().contains("read-write"));
}

#[test]
fn a_blob_that_is_lost_here_is_fetched_again() {
    let site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    let made = here.share(&key, &FILES);
    fs::remove_file(here.blob("alpha")).unwrap();
    assert!(here.store.clone().detach().hit(&key).unwrap().is_none());
    assert_eq!(here.store.hit(&key).unwrap(), Some(made.clone()));
    assert_eq!(listing(&here.store.view(&artifact(&made)).unwrap()), expected(&FILES));
    assert!(here.store.detach().hit(&key).unwrap().is_some());
}

#[test]
fn deep_keys_are_found_here_and_at_the_remote() {
    for site in Site::both() {
        let (here, deep, key) = (site.machine(), Digest::of("deep"), Digest::of("key"));
        assert!(here.store.deep(&deep).unwrap().is_none());
        assert!(!here.store.push_deep(&deep).unwrap(), "there is nothing to push");
        here.store.publish_deep(&deep, &key).unwrap();
        assert_eq!(here.reopen().deep(&deep).unwrap(), Some(key));
        assert!(here.store.push_deep(&deep).unwrap());
        assert!(here.store.push_deep(&deep).unwrap());

        let there = site.reader(&here);
        assert_eq!(there.store.deep(&deep).unwrap(), Some(key));
        assert_eq!(there.reopen().deep(&deep).unwrap(), Some(key), "kept");
        let stranger = site.machine_in(Mode::Read);
        assert!(stranger.store.deep(&deep).unwrap().is_none());
        assert_eq!(stranger.remote().refused().len(), 1);

        here.store.publish_deep(&deep, &Digest::of("another")).unwrap();
        assert!(!here.store.push_deep(&deep).unwrap(), "what is there stays");
        let entry = here.store.sharded("deep", &deep);
        let place = here.store.sharded("deep", &Digest::of("elsewhere"));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&entry, &place).unwrap();
        assert!(here.reopen().deep(&Digest::of("elsewhere")).unwrap().is_none(), "an entry that was moved is none");
    }
}

#[test]
fn a_remote_may_be_used_within_another_runtime() {
    let site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &FILES);
    let (settings, root) = (site.settings, here.store.root().to_path_buf());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let done: Result<bool, StoreError> = runtime.block_on(async move {
        let store = Store::open(&root)?.attach(crate::Remote::open(settings)?);
        Ok(store.pull(&key)?.is_some())
    });
    assert!(done.unwrap());
}

/// What is pushed to a folder can be had through any web server in front of it.
#[test]
fn a_plain_web_server_is_a_remote_to_read_from() {
    let mut site = Site::folder();
    let (here, key) = (site.machine(), Digest::of("key"));
    let made = here.share(&key, &FILES);
    site.settings.url = format!("http://{}/public", serve_files(&site.objects));
    let there = site.reader(&here);
    there.remote().check().unwrap();
    assert_eq!(there.store.hit(&key).unwrap(), Some(made.clone()));
    assert_eq!(listing(&there.store.view(&artifact(&made)).unwrap()), expected(&FILES));
    assert!(there.store.hit(&Digest::of("another")).unwrap().is_none());
    assert!(there.remote().warning().is_none(), "{:?}", there.remote().warning());
    here.make(&Digest::of("another"), &FILES);
    let pushed = here.again(&site, Mode::ReadWrite).push(&Digest::of("another"));
    assert!(matches!(pushed, Err(StoreError::Remote { .. })), "{pushed:?}");
}

/// A safetensors file of 12 tensors of 128 KiB; those of one seed are the same in every file.
fn model(seeds: &[usize]) -> String {
    const LENGTH: usize = 1 << 17;
    let entry = |(index, _): (usize, &usize)| {
        let span = [index * LENGTH, (index + 1) * LENGTH];
        (format!("layer.{index:02}"), serde_json::json!({"dtype": "U8", "shape": [LENGTH], "data_offsets": span}))
    };
    let header = serde_json::Value::Object(seeds.iter().enumerate().map(entry).collect()).to_string();
    // Padded to a length that is text as well, as all files in these tests are.
    let header = format!("{header:1024}");
    let length = String::from_utf8((header.len() as u64).to_le_bytes().to_vec()).unwrap();
    let tensors = seeds.iter().map(|seed| noise(&format!("tensor {seed}"), LENGTH));
    length + &header + &tensors.collect::<String>()
}

#[test]
fn models_that_share_tensors_share_them_at_the_remote_too() {
    for site in Site::both() {
        let (here, keys) = (site.machine(), [Digest::of("base"), Digest::of("tuned"), Digest::of("merged")]);
        let base: Vec<usize> = (0..12).collect();
        let models = [base.clone(), [&base[..10], &[20, 21]].concat(), [&base[..11], &[31]].concat()];
        let texts = models.each_ref().map(|seeds| model(seeds));
        let name = "model.safetensors";
        // The first is pushed whole; the second takes it apart.
        let receipts: Vec<_> = keys.iter().zip(&texts).map(|(key, text)| here.share(key, &[(name, text)])).collect();
        assert_eq!(here.store.split_files(&artifact(&receipts[1])).unwrap().len(), 1, "or there is nothing to test");

        let there = site.reader(&here);
        for index in [2, 1] {
            let view = there.store.view(&artifact(&there.store.hit(&keys[index]).unwrap().unwrap())).unwrap();
            assert!(fs::read_to_string(view.join(name)).unwrap() == texts[index]);
        }
        let received = there.remote().traffic().received;
        assert!(received < (12 + 2 + 1) << 17, "{received}: what both have came once");

        // Where a part is only in a whole file at the remote, that file is fetched.
        let base = artifact(&receipts[0]);
        let file = there.store.tree(&base).unwrap().files().next().unwrap().0;
        let recipe = here.store.recipe_bytes(&file).unwrap().unwrap();
        there.store.adopt_recipe(&file, &recipe).unwrap();
        fs::remove_file(site.blob(&noise("tensor 10", 1 << 17))).unwrap_or_default();
        let again = there.again(&site, Mode::Read);
        assert!(fs::read_to_string(again.view(&base).unwrap().join(name)).unwrap() == texts[0]);
        assert!(there.store.verify().unwrap().is_empty());
    }
}

#[test]
fn a_recipe_that_makes_another_file_is_found_out() {
    for (index, site) in [Site::s3(), Site::folder(), Site::folder()].into_iter().enumerate() {
        let (here, keys) = (site.machine(), [Digest::of("base"), Digest::of("tuned")]);
        let base: Vec<usize> = (0..12).collect();
        here.share(&keys[0], &[("model.safetensors", &model(&base))]);
        let made = here.share(&keys[1], &[("model.safetensors", &model(&[&base[..10], &[20, 21]].concat()))]);
        let file = here.store.split_files(&artifact(&made)).unwrap()[0];
        let recipe = &site.files("recipes")[0];
        assert!(recipe.ends_with(file.hex()));
        let sound = fs::read_to_string(recipe).unwrap();

        let mut lines: Vec<&str> = sound.lines().skip(1).collect();
        lines.swap(3, 4);
        let body = lines.join("\n") + "\n";
        let forged = format!("{}\n{body}", crate::receipt::seal_of(&file, body.as_bytes()));
        fs::write(recipe, [forged.as_str(), "no recipe", ""][index]).unwrap();
        let there = site.reader(&here);
        let receipt = there.store.hit(&keys[1]).unwrap().unwrap();
        let viewed = there.store.view(&artifact(&receipt));
        assert!(matches!(&viewed, Err(StoreError::Damaged { digest, .. }) if *digest == file), "{viewed:?}");
        assert!(there.again(&site, Mode::Read).hit(&keys[1]).unwrap().is_none(), "not believed again");
        let second = there.again(&site, Mode::ReadWrite);
        there.make(&keys[1], &[("model.safetensors", &model(&[&base[..10], &[20, 21]].concat()))]);
        second.push(&keys[1]).unwrap().unwrap();
        let third = site.reader(&here);
        third.store.trust("second", &second.public_key().unwrap()).unwrap();
        assert!(third.store.pull(&keys[1]).unwrap().is_some(), "the push has mended it");
    }
}
