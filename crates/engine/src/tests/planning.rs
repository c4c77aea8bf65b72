use std::fs;

use serde_json::json;

use super::{Space, states};
use crate::PlanState::{Hit, Maybe, Run};
use crate::{EngineError, Outcome, explain};

/// `make` reads nothing, `join` reads it.
fn pipeline(make: &str, join: &str) -> String {
    format!(
        "[pipeline]\nname = 'p'\nseed = 7\n\n[stages.make]\nkind = 'make'\nparams = {{ {make} }}\n\n\
         [stages.join]\nkind = 'join'\ninputs = {{ parts = 'make' }}\nparams = {{ {join} }}\n"
    )
}

#[test]
fn what_never_ran_is_new_and_what_ran_is_there() {
    let space = Space::new();
    let text = pipeline("text = 'a'", "");
    let plan = space.plan(&text);
    assert_eq!(states(&plan), [("make", Run), ("join", Run)]);
    assert_eq!(plan.stages[0].causes[0].field, "new");
    assert_eq!((plan.stages[0].key.is_some(), plan.stages[1].key), (true, None));
    space.run(&text);
    assert_eq!(states(&space.plan(&text)), [("make", Hit), ("join", Hit)]);
}

#[test]
fn a_changed_parameter_is_named_with_both_values_and_its_place() {
    let space = Space::new();
    space.run(&pipeline("text = 'a'", ""));
    let plan = space.plan(&pipeline("text = 'b'", ""));
    assert_eq!(states(&plan), [("make", Run), ("join", Maybe)]);
    let cause = &plan.stages[0].causes[0];
    assert_eq!((cause.field.as_str(), &cause.was, &cause.now), ("params.text", &Some(json!("a")), &Some(json!("b"))));
    assert_eq!(cause.place.as_ref().map(|place| place.line), Some(7));
    let waiting = &plan.stages[1].causes[0];
    assert_eq!((waiting.field.as_str(), &waiting.now), ("inputs.parts", &None));
}

#[test]
fn defaults_change_no_key_and_stand_in_explanations() {
    let space = Space::new();
    space.run(&pipeline("", ""));
    assert_eq!(states(&space.plan(&pipeline("text = 'word'", "")))[0], ("make", Hit));
    let plan = space.plan(&pipeline("text = 'b'", ""));
    assert_eq!(plan.stages[0].causes[0].was, Some(json!("word")));
}

#[test]
fn unkeyed_parameters_run_nothing() {
    let space = Space::new();
    space.run(&pipeline("logging_steps = 1", ""));
    assert_eq!(states(&space.plan(&pipeline("logging_steps = 5", "")))[0], ("make", Hit));
}

#[test]
fn what_a_pin_stands_at_is_in_the_key() {
    let text = "[pipeline]\nname = 'p'\n[stages.tip]\nkind = 'branch'\nparams = { of = 'o/m' }\n\
        [stages.join]\nkind = 'join'\ninputs = { parts = 'tip' }\n";
    let mut space = Space::new();
    assert_eq!(states(&space.plan(text)), [("tip", Run), ("join", Run)]);
    space.pin = Some("1");
    space.run(text);
    assert_eq!(states(&space.plan(text)), [("tip", Hit), ("join", Hit)]);
    space.pin = None;
    let unknown = space.plan(text);
    assert_eq!(states(&unknown), [("tip", Maybe), ("join", Maybe)], "only a run may ask");
    let cause = &unknown.stages[0].causes[0];
    assert_eq!((cause.field.as_str(), &cause.was, &cause.now), ("pins.o/m", &Some(json!("1")), &None));
    space.pin = Some("2");
    let moved = space.plan(text);
    assert_eq!(states(&moved), [("tip", Run), ("join", Maybe)]);
    assert_eq!(
        (&moved.stages[0].causes[0].was, &moved.stages[0].causes[0].now),
        (&Some(json!("1")), &Some(json!("2")))
    );
}

#[test]
fn equal_rows_stop_the_wave() {
    let space = Space::new();
    space.run(&pipeline("spaces = 0", ""));
    let told = space.run(&pipeline("spaces = 3", ""));
    assert_eq!((told.outcomes["make"], told.outcomes["join"]), (Outcome::Ran, Outcome::Hit));
}

#[test]
fn a_stage_with_a_reason_of_its_own_runs_for_certain() {
    let space = Space::new();
    space.run(&pipeline("text = 'a'", ""));
    let plan = space.plan(&pipeline("text = 'b'", "mode = 'other'"));
    assert_eq!(states(&plan), [("make", Run), ("join", Run)]);
    let fields: Vec<&str> = plan.stages[1].causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["params.mode", "inputs.parts"]);
}

#[test]
fn going_back_is_a_hit() {
    let space = Space::new();
    for text in ["a", "b"] {
        space.run(&pipeline(&format!("text = '{text}'"), ""));
    }
    assert_eq!(states(&space.plan(&pipeline("text = 'a'", ""))), [("make", Hit), ("join", Hit)]);
}

#[test]
fn a_lost_blob_is_a_cause() {
    let space = Space::new();
    let text = pipeline("text = 'a'", "");
    space.run(&text);
    let key = space.plan(&text).stages[0].key.unwrap();
    let bytes = space.store().receipt(&key).unwrap().unwrap().outputs["out"].artifact.bytes.hex();
    fs::remove_file(space.path("store/blobs").join(&bytes[..2]).join(&bytes)).unwrap();
    let plan = space.plan(&text);
    assert_eq!((plan.stages[0].state, plan.stages[0].causes[0].field.as_str()), (Run, "lost_blob"));
    assert_eq!(space.run(&text).outcomes["make"], Outcome::Ran);
    assert_eq!(states(&space.plan(&text)), [("make", Hit), ("join", Hit)]);
}

#[test]
fn the_seed_counts_only_where_it_is_declared() {
    let space = Space::new();
    let text = pipeline("", "");
    space.run(&text);
    let plan = space.plan(&text.replace("seed = 7", "seed = 8"));
    assert_eq!(states(&plan), [("make", Run), ("join", Maybe)]);
    assert_eq!(plan.stages[0].causes[0].field, "seed");
}

#[test]
fn the_backend_counts_only_where_it_computes() {
    let space = Space::new();
    let text = "[pipeline]\nname = 'p'\n[stages.make]\nkind = 'make'\n[stages.c]\nkind = 'compute'\ninputs = { data = 'make' }\n";
    space.run(text);
    let plan = space.plan(&text.replace("name = 'p'", "name = 'p'\nbackend = 'wgpu'"));
    assert_eq!(states(&plan), [("make", Hit), ("c", Run)]);
    let cause = &plan.stages[1].causes[0];
    assert_eq!((cause.field.as_str(), &cause.was, &cause.now), ("backend", &Some(json!("cpu")), &Some(json!("wgpu"))));
    let pinned = space.plan(&text.replace("name = 'p'", "name = 'p'\nbackend = 'wgpu:1'"));
    assert_eq!(pinned.stages[1].key, plan.stages[1].key);
}

#[test]
fn files_that_are_not_there_are_told_all_at_once() {
    let space = Space::new();
    let text = "[stages.a]\nkind = 'source'\nparams = { path = 'no.txt' }\n[stages.b]\nkind = 'source'\nparams = { path = 'nor.txt' }\n";
    let text = format!("[pipeline]\nname = 'p'\n{text}");
    let Err(EngineError::Wrong(mistakes)) = space.try_run(&text) else { panic!("it ran") };
    let found: Vec<(&str, Option<usize>)> = mistakes
        .iter()
        .map(|mistake| (mistake.field.as_str(), mistake.place.as_ref().map(|place| place.line)))
        .collect();
    assert_eq!(found, [("params.path", Some(5)), ("params.path", Some(8))]);
}

#[test]
fn a_hit_is_explained_by_the_run_that_made_it() {
    let space = Space::new();
    space.run(&pipeline("text = 'a'", ""));
    let text = pipeline("text = 'b'", "");
    space.run(&text);
    let loaded = space.load(&text);
    let told = space.with(&loaded, |options| explain(&loaded, options, &[0, 1])).unwrap();
    let fields: Vec<&str> = told.iter().map(|one| one.made.as_ref().unwrap().causes[0].field.as_str()).collect();
    assert_eq!(fields, ["params.text", "inputs.parts"]);
}

#[test]
fn a_plan_is_followed_or_refused() {
    let mut space = Space::new();
    let text = pipeline("text = 'a'", "");
    space.expected = Some(space.plan(&text));
    assert_eq!(space.run(&text).summary.ran, 2);
    let Err(EngineError::Stale(moved)) = space.try_run(&text) else { panic!("it ran") };
    assert!(moved[0].starts_with("`make` was run ") && moved[0].contains(", is hit "), "{moved:?}");
    assert_eq!(moved.len(), 2);
    space.expected = Some(space.plan(&text));
    assert_eq!(space.run(&text).summary.hit, 2);
}

#[test]
fn a_single_stage_runs_when_what_it_needs_is_there() {
    let mut space = Space::new();
    (space.single, space.words) = (true, vec!["join"]);
    let Err(EngineError::Wrong(mistakes)) = space.try_run(&pipeline("", "")) else { panic!("it ran") };
    assert_eq!((mistakes.len(), mistakes[0].stage.as_str()), (1, "make"));
    (space.single, space.words) = (false, vec!["make"]);
    space.run(&pipeline("", ""));
    (space.single, space.words) = (true, vec!["join"]);
    assert_eq!(space.run(&pipeline("", "")).summary.ran, 1);
}

#[test]
fn what_ran_once_tells_what_it_will_take() {
    let space = Space::new();
    assert_eq!(space.plan(&pipeline("", "")).stages[0].estimate, None);
    space.run(&pipeline("millis = 30", ""));
    let plan = space.plan(&pipeline("text = 'longer'", ""));
    let estimate = plan.stages[0].estimate.as_ref().unwrap();
    assert!(estimate.seconds.unwrap() >= 0.03 && estimate.bytes.unwrap() > 0, "{estimate:?}");
    let same_params = |stage: usize| {
        let estimate = plan.stages[stage].estimate.as_ref().unwrap();
        estimate.past.as_ref().unwrap().same_params
    };
    assert!(!same_params(0) && same_params(1));
}

#[test]
fn what_never_ran_takes_what_its_kind_foresees() {
    let space = Space::new();
    let text = |millis: u64| {
        format!(
            "[pipeline]\nname = 'p'\n[stages.a]\nkind = 'grow'\nparams = {{ millis = {millis} }}\n\
             [stages.b]\nkind = 'grow'\ninputs = {{ seed = 'a' }}\nparams = {{ millis = {millis} }}\n"
        )
    };
    let estimates = |text: &str| {
        let plan = space.plan(text);
        plan.stages.into_iter().map(|stage| stage.estimate.unwrap()).collect::<Vec<_>>()
    };
    let new = estimates(&text(40));
    let sizes: Vec<_> = new.iter().map(|one| (one.bytes, one.peak_bytes)).collect();
    assert_eq!(sizes, [(Some(1000), Some(1000)), (Some(2000), Some(2000))], "told from stage to stage");
    assert!(new.iter().all(|one| one.seconds.is_none() && one.past.is_none()));

    space.run(&text(40));
    let took: Vec<f64> = {
        let store = space.store();
        store.receipts().map(|receipt| receipt.unwrap().1.seconds).collect()
    };
    let again = estimates(&text(400));
    for one in &again {
        let seconds = one.seconds.unwrap();
        assert!(took.iter().any(|took| (seconds - took * 10.0).abs() < 1e-9), "{seconds} of {took:?}");
    }
    // The second reads what the first made, which is there.
    let second = text(40).replace("'a' }\nparams = { millis = 40", "'a' }\nparams = { millis = 41");
    let plan = space.plan(&second);
    assert_eq!(states(&plan), [("a", Hit), ("b", Run)]);
    assert_eq!(plan.stages[1].estimate.as_ref().unwrap().bytes, Some(20_000));
}

#[test]
fn two_runs_differ_in_parameters_inputs_and_metrics() {
    let space = Space::new();
    let text = |word: &str, acc: f64| {
        format!(
            "{}[stages.eval]\nkind = 'measure'\ninputs = {{ data = 'make' }}\nparams = {{ acc = {acc} }}\n",
            pipeline(&format!("text = '{word}'"), "")
        )
    };
    space.run(&text("a", 0.4));
    space.run(&text("b", 0.6));
    let store = space.store();
    let records: Vec<_> = store.runs().unwrap().iter().map(|dir| crate::read_record(dir).unwrap()).collect();
    let told = crate::diff(&store, &records[0], &records[1]);
    let names = |all: &[crate::FieldDiff]| all.iter().map(|one| one.field.clone()).collect::<Vec<_>>();
    assert_eq!(told.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["eval", "join", "make"]);
    assert_eq!(names(&told[0].fields), ["inputs.data", "params.acc"]);
    assert_eq!((told[0].metrics[0].field.as_str(), &told[0].metrics[0].b), ("out.toy.acc", &Some(json!(0.6))));
    assert_eq!(names(&told[2].fields), ["params.text"]);
    assert!(told[2].seconds.0.is_some() && told[2].seconds.1.is_some());
    assert!(crate::diff(&store, &records[0], &records[0]).is_empty());
}
