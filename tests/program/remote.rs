//! Results that travel: by a remote, and as a bundle.

use std::fs;

use serde_json::Value;

use crate::space::{TestSpace, pairs};

/// A chain of stages, each with a file of its own.
fn chain(stages: usize) -> String {
    let stage = |index: usize| {
        let input = if index == 0 { String::new() } else { format!("inputs = {{ in = \"s{}\" }}\n", index - 1) };
        let read = if index == 0 { "" } else { "cat $GAZAL_INPUT_in/f > $GAZAL_OUTPUT_out/f; " };
        format!(
            "[stages.s{index}]\nkind = \"exec\"\n{input}outputs = {{ out = \"files\" }}\n\
             params = {{ command = [\"sh\", \"-c\", \"{read}head -c 100000 /dev/zero | tr '\\\\0' {} >> $GAZAL_OUTPUT_out/f\"] }}\n",
            char::from(b'a' + index as u8)
        )
    };
    (0..stages).map(stage).collect()
}

/// What a store publishes under.
fn key(space: &TestSpace) -> String {
    space.expect(0, "cache key").stdout.trim().to_string()
}

#[test]
fn another_machine_fetches_the_last_result_alone() {
    let (here, there) = (TestSpace::with(&chain(5)), TestSpace::with(&chain(5)));
    fs::create_dir(here.path("remote")).unwrap();
    let remote = format!("--remote {}", here.path("remote").display());
    here.expect(0, &format!("{remote} --remote-mode read-write run pipeline.toml"));
    let untrusted = there.expect(2, &format!("{remote} get pipeline.toml s4 out"));
    assert!(untrusted.stderr.contains("not there yet"), "{}", untrusted.stderr);
    there.expect(0, &format!("cache trust here {}", key(&here)));
    there.expect(0, &format!("{remote} get pipeline.toml s4 out"));
    assert_eq!(fs::metadata(there.path("out/f")).unwrap().len(), 500_000);
    let blobs: Value = serde_json::from_str(&there.expect(0, "cache ls --json").stdout).unwrap();
    let bytes =
        blobs["parts"].as_array().unwrap().iter().find(|part| part["name"] == "blobs").unwrap()["bytes"].as_u64();
    assert!(bytes.unwrap() < 500_000 + 65_536, "{blobs}");
    let told = there.expect(0, &format!("{remote} run pipeline.toml s4")).stdout;
    assert!(told.contains("5 up to date"), "{told}");
}

#[test]
fn a_pipeline_may_name_its_remote() {
    let here = TestSpace::with(&chain(2));
    fs::create_dir(here.path("shared")).unwrap();
    let named = here.read("pipeline.toml").replacen('\n', "\nremote = 'shared'\n", 1);
    here.write("pipeline.toml", &named);
    here.expect(0, "--remote-mode read-write run pipeline.toml");
    fs::create_dir(here.path("elsewhere")).unwrap();
    for (words, up_to_date) in [("", 2), ("--remote-mode off", 0), ("--remote elsewhere", 0)] {
        let store = format!("--store other-{up_to_date}{}", words.len());
        here.expect(0, &format!("{store} cache trust here {}", key(&here)));
        let told = here.expect(0, &format!("{store} {words} plan pipeline.toml")).stdout;
        assert!(told.contains(&format!("{up_to_date} up to date")), "{words}: {told}");
    }
    // Wherever the program was called, the folder lies beside the file.
    let whole_path = here.path("pipeline.toml").display().to_string();
    let there = TestSpace::new();
    there.expect(0, &format!("cache trust here {}", key(&here)));
    there.expect(0, &format!("get {whole_path} s1 out"));
    assert_eq!(fs::metadata(there.path("out/f")).unwrap().len(), 200_000);
    here.write("pipeline.toml", &named.replace("'shared'", "'s4://nowhere/'"));
    assert!(here.expect(2, "plan pipeline.toml").stderr.contains("s4"));
}

#[test]
fn what_is_lost_at_the_remote_is_made_again() {
    let (here, there) = (TestSpace::with(&chain(3)), TestSpace::with(&chain(3)));
    fs::create_dir(here.path("remote")).unwrap();
    let remote = format!("--remote {}", here.path("remote").display());
    here.expect(0, &format!("{remote} --remote-mode read-write run pipeline.toml"));
    there.expect(0, &format!("cache trust here {}", key(&here)));
    fs::remove_dir_all(here.path("remote/v1/blobs")).unwrap();
    let changed = there.read("pipeline.toml").replace("tr '\\\\0' c", "tr '\\\\0' d");
    there.write("pipeline.toml", &changed);
    there.expect(0, &format!("{remote} run pipeline.toml s2"));
    there.expect(0, "get pipeline.toml s2 out");
    assert_eq!(fs::metadata(there.path("out/f")).unwrap().len(), 300_000);
    there.expect(0, "cache verify");
}

#[test]
fn a_bundle_carries_results_and_collections_let_go_of_them() {
    let (here, there) = (TestSpace::with(&chain(3)), TestSpace::with(&chain(3)));
    here.expect(0, "run pipeline.toml");
    let bundle = here.path("bundle").display().to_string();
    here.expect(0, &format!("cache export pipeline.toml --to {bundle}"));
    assert!(there.expect(0, &format!("cache import {bundle}")).stdout.contains("3 results came in"));
    assert!(there.expect(0, "run pipeline.toml").stdout.contains("3 up to date"));
    there.expect(0, "cache pin pipeline.toml s1");
    assert!(there.expect(0, "cache ls").stdout.contains("pinned: test/s1"));
    let dry = there.expect(0, "cache gc --max-size 1KB --recent 0 --grace 0s --dry-run").stdout;
    assert!(dry.contains("would be removed") && dry.contains("2 results let go"), "{dry}");
    there.expect(0, "cache gc --max-size 1KB --recent 0 --grace 0s");
    there.expect(0, "cache verify");
    assert_eq!(there.states("s1"), pairs(&[("s0", "hit"), ("s1", "hit")]));
    assert_eq!(there.states(""), pairs(&[("s0", "ran"), ("s1", "hit"), ("s2", "ran")]));
    assert!(there.expect(2, "cache rm pipeline.toml s1").stderr.contains("test/s1"));
    there.expect(0, "cache unpin test/s1");
    there.expect(0, "cache rm pipeline.toml s1");
    assert!(there.expect(2, "cache import pipeline.toml").stderr.contains("bundle"));
}
