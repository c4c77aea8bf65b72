//! The optimizer study in its `smoke` profile: every stage is real, only small.

use std::fs;

use serde_json::Value;

use crate::space::TestSpace;

const SMOKE: &str = "--profile smoke";

#[test]
fn the_optimizer_study_runs_once_and_then_not_again() {
    let space = TestSpace::new();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/exadam.toml")).unwrap();
    space.write("pipeline.toml", &text);
    let first = space.states(SMOKE);
    // The images, 17 trainings and one from other weights, of two seeds each, and the report; the play, seven trainings of two
    // seeds each, and their report.
    assert_eq!(first.len(), 1 + 2 * (17 + 1) + 1 + 1 + 2 * 7 + 1);
    assert!(first.iter().all(|(_, state)| state == "ran"), "{first:?}");
    let second = space.states(SMOKE);
    assert!(second.iter().all(|(_, state)| state == "hit"), "{second:?}");

    space.expect(0, &format!("get pipeline.toml report.report out {SMOKE}"));
    let report: Value = serde_json::from_str(&space.read("out/report.json")).unwrap();
    assert_eq!(report["groups"], serde_json::json!(["seed 1", "seed 2"]));
    assert_eq!((report["labels"].as_array().unwrap().len(), report["test_images"].as_u64()), (18, Some(360)));
    assert!(report["beside"].as_array().unwrap().iter().any(|gains| !gains[0].is_null()), "{}", report["beside"]);
    let page = space.read("out/report.html");
    assert!(page.contains("follows from the logs") && page.contains("adam-10x") && !page.contains("NaN"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page is self-contained");

    space.expect(0, &format!("get pipeline.toml report-text.report text {SMOKE}"));
    let report: Value = serde_json::from_str(&space.read("text/report.json")).unwrap();
    assert_eq!((report["labels"].as_array().unwrap().len(), report["steps"].as_f64()), (7, Some(6.0)));
    let beside = report["beside"].as_array().unwrap();
    // A baseline's lowest loss need not be reached; all else is there of both versions.
    assert!(beside.iter().filter(|gain| !gain.is_null()).count() >= 6, "{beside:?}");
    let page = space.read("text/report.html");
    assert!(page.contains("14,335,553") && page.contains("adam-2x") && !page.contains("NaN"));
}
