//! Labels beside baselines, and their numbers beside those of neighbours.

use super::*;

/// As sft, but for one more question of each set that it has wrong.
fn other(group: &str) -> Vec<Sample> {
    let samples = samples("other", group).into_iter();
    let wrong = |sample: Sample| match sample.id.ends_with("-0005") {
        true => Sample { correct: false, answer: Some(2), reward: sample.reward.map(|reward| reward - 1.0), ..sample },
        false => sample,
    };
    samples.map(wrong).collect()
}

/// Three models and two seeds.
fn three(params: &Value) -> Result<BTreeMap<String, String>, String> {
    let runs = ["3", "14"].map(|group| [samples("base", group), samples("sft", group), other(group)]);
    let mut given = json!({"resamples": 400, "title": "Three", "disclaimer": false});
    given.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    run(&given, &runs.concat())
}

/// Three pairs, of which one is asked for twice.
fn asked() -> Value {
    json!({"comparisons": [
        {"title": "Training & none", "baseline": "base", "labels": ["sft", "other"]},
        {"title": "One question less", "baseline": "sft", "labels": ["other"]},
        {"title": "Training, again", "baseline": "base", "labels": ["sft"]},
    ]})
}

fn array<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap()
}

/// A cell without what depends on how many pairs are compared.
fn measured(cell: &Value) -> Vec<&Value> {
    ["mean", "low", "high", "items", "clusters", "p", "resolution"].map(|name| &cell[name]).into()
}

/// The same two models have the same numbers as neighbours and as label and baseline, in every table and seed.
#[test]
fn pairs_have_the_numbers_of_neighbours() {
    let report = numbers(&three(&asked()).unwrap());
    let mut compared = 0;
    for (row, pair) in [["base", "sft"], ["base", "other"], ["sft", "other"]].into_iter().enumerate() {
        let neighbours = numbers(&three(&json!({"models": pair})).unwrap());
        for (table, expected) in array(&report, "tables").iter().zip(array(&neighbours, "tables")) {
            assert_eq!((&table["protocol"], &table["metric"]), (&expected["protocol"], &expected["metric"]));
            let (own, expected_row) = (&table["differences"][row], &expected["differences"][0]);
            assert_eq!([&own["left"], &own["right"]], pair);
            for (cell, expected) in array(own, "cells").iter().zip(array(expected_row, "cells")) {
                assert_eq!(measured(cell), measured(expected));
                compared += 1;
            }
            for (group, expected) in array(table, "groups").iter().zip(array(expected, "groups")) {
                assert_eq!(group["differences"][row], expected["differences"][0], "those of a seed are not corrected");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 3 * 6 * (3 + 2));
    let turned = json!({"comparisons": [{"title": "t", "baseline": "sft", "labels": ["base"]}]});
    let turned = numbers(&three(&turned).unwrap())["tables"][0]["differences"][0]["cells"][2].clone();
    let cell = &report["tables"][0]["differences"][0]["cells"][2];
    let [low, high] = ["low", "high"].map(|name| cell[name].as_f64().unwrap());
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-12;
    assert!(near(&turned["low"], -high) && near(&turned["high"], -low), "{turned} and {cell}");
    assert_eq!(turned["verdict"], "below_zero");
}

/// Of three pairs with two benchmarks each; a pair that is asked for twice is one.
#[test]
fn p_is_corrected_over_all_comparisons() {
    let report = numbers(&three(&asked()).unwrap());
    for table in array(&report, "tables") {
        let rows = array(table, "differences");
        assert_eq!(rows.len(), 3);
        for (columns, count) in [(0..2, 6.0), (2..3, 3.0)] {
            let cells = rows.iter().flat_map(|row| &array(row, "cells")[columns.clone()]);
            let mut p: Vec<[f64; 2]> =
                cells.map(|cell| ["p", "p_adjusted"].map(|name| cell[name].as_f64().unwrap())).collect();
            p.sort_by(|one, other| one[0].total_cmp(&other[0]));
            let [least, adjusted] = p[0];
            assert!((adjusted - (count * least).min(1.0)).abs() < 1e-12, "{p:?}");
            assert!(p.windows(2).all(|pair| pair[0][1] <= pair[1][1]) && p.iter().all(|[p, more]| p <= more), "{p:?}");
        }
    }
    // By enumeration of the 4,096 signs of twelve clusters, p of the first pair is 160 / 4,096.
    let cells = &report["tables"][0]["differences"][0]["cells"];
    let p = |column: usize, name: &str| cells[column][name].as_f64().unwrap();
    let expected = [(p(2, "p"), 1.0), (p(2, "p_adjusted"), 3.0), (p(0, "p_adjusted"), 6.0)];
    assert!(expected.iter().all(|(p, count)| (p - count * 160.0 / 4096.0).abs() < 1e-12), "{expected:?}");
    assert_eq!(cells[2]["verdict"], "within_noise", "alone it would be above zero");
}

#[test]
fn the_text_begins_with_a_line_for_each_difference() {
    let files = three(&asked()).unwrap();
    let text = &files["report.txt"];
    assert!(text.lines().all(|line| line.chars().count() <= text::WIDTH && line.trim_end() == line), "{text}");
    let beginning = text.split("Generated answers: Mean reward").next().unwrap();
    assert_eq!(beginning, include_str!("comparisons.txt"));
    // The tables of all models follow, without the differences and seeds that stood above.
    let (_, rest) = text.split_once("LOG-LIKELIHOOD OF THE OPTIONS").unwrap();
    assert!(rest.contains("other") && rest.contains("well-formed %"), "{rest}");
    assert!(!rest.contains("Each seed") && !rest.contains("Paired differences"), "{rest}");
}

#[test]
fn the_page_begins_with_one_table_and_leads_to_the_sections() {
    let files = three(&asked()).unwrap();
    let page = &files["report.html"];
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in\n{page}"));
    let order = [
        "<h2>Comparisons</h2>",
        "<th scope=\"rowgroup\" rowspan=\"2\"",
        "<td>other \u{2212} base</td>",
        "<h2 id=\"comparison-1\">Training &amp; none</h2>",
        "<small>25.0 \u{2192} 83.3</small>",
        "<h2 id=\"comparison-3\">Training, again</h2>",
        "<h2>Log-likelihood of the options</h2>",
        "<h2>Before and after</h2>",
    ];
    assert!(order.map(place).is_sorted(), "{:?}", order.map(place));
    assert_eq!(page.matches("<a href=\"#comparison-1\"").count(), 2, "of each protocol");
    assert!(!page.contains("neighbouring") && !page.contains("Training & none"));
    let report = numbers(&files);
    assert_eq!(report["comparisons"], asked()["comparisons"]);
    let [before, after] = ["before", "after"].map(|side| &report["examples"][side]);
    assert_eq!([before, after], ["base", "sft"], "of the first comparison");
    let metrics: Value = serde_json::from_str(&files["metrics.json"]).unwrap();
    assert!(metrics["average"]["other-sft.acc"].as_f64().unwrap() < 0.0);
    let plain = three(&json!({})).unwrap();
    assert_eq!(numbers(&plain)["comparisons"], Value::Null);
    assert!(!plain["report.html"].contains("Comparisons") && !plain["report.txt"].contains("COMPARISONS"));
}

/// A label that answers only in words has no line among the log-likelihoods.
#[test]
fn what_was_not_measured_is_not_compared() {
    let mut written = samples("sft", "");
    written.retain(|sample| sample.protocol == Protocol::GenerateCot);
    let params = json!({"resamples": 100, "comparisons": [{"title": "t", "baseline": "base", "labels": ["sft"]}]});
    let files = run(&params, &[samples("base", ""), written]).unwrap();
    let tables = numbers(&files)["tables"].clone();
    assert_eq!((&tables[0]["protocol"], &tables[0]["differences"]), (&json!("loglikelihood"), &json!([])));
    assert_eq!(array(&tables[1], "differences").len(), 1);
    assert_eq!(files["report.txt"].matches("sft \u{2212} base").count(), 1);
}

#[test]
fn mistakes_in_comparisons_are_told() {
    let unknown = |params: Value| three(&params).unwrap_err();
    let of = |baseline: &str, label: &str| json!([{"title": "t", "baseline": baseline, "labels": [label]}]);
    for comparisons in [of("base", "grpo"), of("grpo", "base")] {
        let error = unknown(json!({"comparisons": comparisons}));
        assert!(error.contains("`grpo` is no model of this report; it has base, sft, other"), "{error}");
    }
    let left_out = unknown(json!({"models": ["base", "sft"], "comparisons": of("base", "other")}));
    assert!(left_out.contains("`other` is no model of this report; it has base, sft"), "{left_out}");
    let comparing = |title: &str, labels: &[&str]| json!({"title": title, "baseline": "a", "labels": labels});
    let wrong = json!({"comparisons": [
        comparing("t", &["b"]), comparing("u", &[]), comparing("v", &["b", "a"]), comparing("t", &["b", "c", "b"]),
    ]});
    let problems = DynKind::check(&ReportKind, wrong.as_object().unwrap(), &[]);
    let told: Vec<(&str, &str)> =
        problems.iter().map(|problem| (problem.field.as_str(), problem.message.as_str())).collect();
    let beside = "must name others than the baseline";
    let expected = [
        ("comparisons[1].labels", beside),
        ("comparisons[2].labels", beside),
        ("comparisons[3].title", "`t` is the title of another comparison too"),
        ("comparisons[3].labels", "names `b` twice"),
    ];
    assert_eq!(told, expected);
}
