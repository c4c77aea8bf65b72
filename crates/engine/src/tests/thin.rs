//! Results whose bytes are gone, and results that are found without what they were made from.

use std::fs;

use super::{Space, states};
use crate::Outcome::{Hit, Ran};
use crate::{Outcome, PlanState};

/// a -> b -> c, d reads a; a, b and c hold the same row.
fn chain(c: &str) -> String {
    let join = |name: &str, from: &str, mode: &str| {
        format!("[stages.{name}]\nkind = 'join'\ninputs = {{ parts = '{from}' }}\nparams = {{ mode = '{mode}' }}\n")
    };
    format!(
        "[pipeline]\nname = 'p'\n[stages.a]\nkind = 'make'\n{}{}{}",
        join("b", "a", ""),
        join("c", "b", c),
        join("d", "a", "d")
    )
}

impl Space {
    /// Takes the bytes of stages' outputs away, as a collection does.
    fn lose(&self, text: &str, stages: &[&str]) {
        for planned in self.plan(text).stages.iter().filter(|planned| stages.contains(&planned.name.as_str())) {
            let receipt = self.store().receipt(&planned.key.unwrap()).unwrap().unwrap();
            for (digest, _) in self.store().tree(&receipt.outputs["out"].artifact).unwrap().files() {
                fs::remove_file(self.path("store/blobs").join(&digest.hex()[..2]).join(digest.hex())).unwrap();
            }
        }
    }

    fn forget(&self, text: &str, stages: &[&str]) {
        for planned in self.plan(text).stages.iter().filter(|planned| stages.contains(&planned.name.as_str())) {
            self.store().forget(&planned.key.unwrap()).unwrap();
        }
    }

    fn outcomes(&self, text: &str) -> Vec<(String, Outcome)> {
        self.run(text).outcomes.into_iter().collect()
    }
}

fn named(pairs: &[(&str, Outcome)]) -> Vec<(String, Outcome)> {
    pairs.iter().map(|(name, outcome)| ((*name).to_string(), *outcome)).collect()
}

#[test]
fn bytes_that_are_shared_come_back_together() {
    let mut space = Space::new();
    let text = chain("");
    space.run(&text);
    space.words = vec!["c"];
    space.lose(&text, &["b"]);
    assert_eq!(states(&space.plan(&text)), [("a", PlanState::Run), ("b", PlanState::Run), ("c", PlanState::Run)]);
    assert_eq!(space.outcomes(&text), named(&[("a", Ran), ("b", Hit), ("c", Hit)]));
}

/// a -> b -> c with rows of their own.
fn steps(c: &str) -> String {
    let join = |name: &str, from: &str, add: &str| {
        format!("[stages.{name}]\nkind = 'join'\ninputs = {{ parts = '{from}' }}\nparams = {{ add = '{add}' }}\n")
    };
    let make = "[pipeline]\nname = 'p'\n[stages.a]\nkind = 'make'\nparams = { text = 'a' }\n";
    format!("{make}{}{}", join("b", "a", "b"), join("c", "b", c))
}

fn rows(last: &str) -> String {
    format!("{{\"text\":\"a\"}}\n\"b\"\n\"{last}\"\n")
}

#[test]
fn what_a_collection_took_is_made_again_when_it_is_needed_only() {
    let mut space = Space::new();
    let text = steps("c");
    space.run(&text);
    space.lose(&text, &["a", "b"]);
    space.words = vec!["c"];
    assert_eq!(states(&space.plan(&text)), ["a", "b", "c"].map(|name| (name, PlanState::Hit)));
    assert_eq!(space.outcomes(&text), named(&[("a", Hit), ("b", Hit), ("c", Hit)]));
    let changed = steps("d");
    assert_eq!(states(&space.plan(&changed)), [("a", PlanState::Run), ("b", PlanState::Run), ("c", PlanState::Run)]);
    assert_eq!(space.outcomes(&changed), named(&[("a", Ran), ("b", Ran), ("c", Ran)]));
    assert_eq!(space.output(&changed, "c"), rows("d"));
    space.lose(&changed, &["b"]);
    space.words = Vec::new();
    let plan = space.plan(&changed);
    assert_eq!(states(&plan), [("a", PlanState::Hit), ("b", PlanState::Run), ("c", PlanState::Maybe)]);
    assert_eq!(plan.stages[1].causes[0].field, "lost_blob");
    assert_eq!(space.outcomes(&changed), named(&[("a", Hit), ("b", Ran), ("c", Hit)]));
}

#[test]
fn a_result_is_found_without_what_it_was_made_from() {
    let mut space = Space::new();
    let text = steps("c");
    space.run(&text);
    space.forget(&text, &["a", "b"]);
    space.words = vec!["c"];
    assert_eq!(states(&space.plan(&text)), [("c", PlanState::Hit)], "what is before it is no part of the plan");
    assert_eq!(space.outcomes(&text), named(&[("c", Hit)]));
    space.words = Vec::new();
    let plan = space.plan(&text);
    assert_eq!(states(&plan), [("a", PlanState::Run), ("b", PlanState::Run), ("c", PlanState::Maybe)]);
    assert_eq!(space.outcomes(&text), named(&[("a", Ran), ("b", Ran), ("c", Hit)]));
    let other = text.replace("text = 'a'", "text = 'A'");
    space.words = vec!["c"];
    assert_eq!(space.outcomes(&other), named(&[("a", Ran), ("b", Ran), ("c", Ran)]));
}

#[test]
fn bytes_that_are_lost_under_a_running_run_are_made_again_once() {
    let space = Space::new();
    let text = steps("c");
    space.run(&text);
    let changed = steps("e");
    let loaded = space.load(&changed);
    let mut gone = false;
    let told = space.with(&loaded, |options| {
        crate::run(&loaded, options, &mut |event| {
            if !gone && matches!(event, crate::RunEvent::Stage { name, .. } if name == "b") {
                gone = true;
                space.lose(&text, &["a", "b"]);
            }
        })
    });
    let summary = told.unwrap();
    assert_eq!((summary.ran, summary.hit, summary.failed), (3, 0, 0), "{summary:?}");
    assert_eq!(space.output(&changed, "c"), rows("e"));
}
