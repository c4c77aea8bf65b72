//! The symmetry study in its `smoke` profile: every stage is real, only small.

use std::fs;

use serde_json::Value;

use crate::space::TestSpace;

const SMOKE: &str = "--profile smoke";

#[test]
fn the_symmetry_study_runs_once_and_then_not_again() {
    let space = TestSpace::new();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/symmetry-exchange.toml")).unwrap();
    space.write("pipeline.toml", &text);
    for profile in ["full", "replication"] {
        space.expect(0, &format!("check pipeline.toml --profile {profile}"));
    }
    let first = space.states(SMOKE);
    assert_eq!(first.len(), 3 + 1);
    assert!(first.iter().all(|(_, state)| state == "ran"), "{first:?}");
    let second = space.states(SMOKE);
    assert!(second.iter().all(|(_, state)| state == "hit"), "{second:?}");

    space.expect(0, &format!("get pipeline.toml study.report out {SMOKE}"));
    let report: Value = serde_json::from_str(&space.read("out/report.json")).unwrap();
    assert_eq!((&report["runs"], &report["gaps"]), (&Value::from(3 * 3 * 3 * 6), &Value::from(0)));
    assert_eq!(report["averaging"], serde_json::json!({ "compared": 27, "equal": 27 }));
    // With as many petals as there are, symmetry needs fewer samples, and the wrong group no fewer.
    let needed = |family: &str, n: u64| {
        let targets = report["analysis"]["targets"].as_array().unwrap();
        let found = targets.iter().find(|target| target["family"] == family && target["n"] == n).unwrap();
        found["samples"].as_u64().unwrap_or(u64::MAX)
    };
    assert_eq!(needed("equivariant", 1), needed("vanilla", 1), "a group of one is no group");
    assert!(needed("equivariant", 4) < needed("vanilla", 4) && needed("wrong_group", 4) >= needed("vanilla", 4));
    let page = space.read("out/report.html");
    assert!(page.contains("27 of 27 pairs of curves") && !page.contains("NaN") && !page.contains("src=\"http"));
}
