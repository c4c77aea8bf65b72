//! What training data and held-out questions must and must not share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use gazal_data::{Stream, rows_digest};
use gazal_tasks::{Extraction, extract};
use serde_json::json;

use super::exercises::exercise;
use super::knowledge::{Fact, conditions};
use super::language::Language;
use super::problems::{Maker, Problem};
use super::run::draw;
use super::wording::{self, Split};

/// Problems of training, and those that the benchmarks draw.
fn problems(split: Split, count: u64) -> Vec<Problem> {
    let conditions = conditions(Language::En).unwrap();
    let maker = Maker { conditions: &conditions, split };
    let stream = Stream::new(11, "test");
    (0..count).map(|row| draw(&maker, &mut stream.draws(row))).collect()
}

#[test]
fn every_completion_says_its_answer_in_the_card_s_form() {
    let train = problems(Split::Train, 1500);
    for problem in &train {
        let text = problem.completion();
        assert!(text.starts_with("<think>\nStep 1: ") && text.contains("\n</think>\n## "), "{text}");
        assert_eq!(extract(&text, &problem.item.options), Extraction::Answer(problem.item.answer), "{text}");
    }
    let types: BTreeSet<&str> = train.iter().map(|problem| problem.reasoning.name()).collect();
    let specialties: BTreeSet<&str> = train.iter().map(|problem| problem.specialty.as_str()).collect();
    assert_eq!((types.len(), specialties.len()), (4, 8));
}

#[test]
fn no_wording_is_in_training_and_held_out() {
    let mut both: Vec<(&[&str], &[&str])> = vec![
        (wording::vignettes(Split::Train), wording::vignettes(Split::HeldOut)),
        (wording::abstracts(Split::Train), wording::abstracts(Split::HeldOut)),
        (wording::abstract_questions(Split::Train), wording::abstract_questions(Split::HeldOut)),
        (wording::case_questions(None, Split::Train), wording::case_questions(None, Split::HeldOut)),
    ];
    for fact in Fact::ALL {
        both.push((wording::fact_questions(fact, Split::Train), wording::fact_questions(fact, Split::HeldOut)));
        both.push((
            wording::case_questions(Some(fact), Split::Train),
            wording::case_questions(Some(fact), Split::HeldOut),
        ));
    }
    for (train, held_out) in both {
        assert!(held_out.iter().all(|template| !train.contains(template)), "{train:?} and {held_out:?}");
    }
}

#[test]
fn no_held_out_question_or_set_of_findings_is_in_training() {
    let questions = |problems: &[Problem]| {
        problems.iter().map(|problem| problem.item.question.clone()).collect::<BTreeSet<String>>()
    };
    let cases = |problems: &[Problem]| {
        let first_step = |problem: &Problem| problem.steps[0].strip_prefix("The findings ").map(str::to_string);
        let sorted = |text: String| {
            let (findings, condition) = text.split_once(" point to ").unwrap();
            let findings = findings.replace(" and ", ", ");
            let findings: BTreeSet<String> = findings.split(", ").map(str::to_string).collect();
            (condition.to_string(), findings)
        };
        problems.iter().filter_map(first_step).map(sorted).collect::<BTreeSet<_>>()
    };
    let (train, held_out) = (problems(Split::Train, 4000), problems(Split::HeldOut, 1500));
    assert!(questions(&train).is_disjoint(&questions(&held_out)));
    assert!(cases(&train).len() > 500 && cases(&held_out).len() > 100);
    assert!(cases(&train).is_disjoint(&cases(&held_out)));
}

/// Equal inputs, equal rows: raise the `REVISION` of `synth` and `benchmarks` when this changes.
#[test]
fn rows_are_what_they_were() {
    let conditions = conditions(Language::En).unwrap();
    let rows: Vec<_> = problems(Split::Train, 200)
        .iter()
        .map(|problem| json!([problem.item, problem.completion()]))
        .chain((0..200).map(|row| json!(exercise(&conditions, &mut Stream::new(11, "exercise").draws(row)))))
        .collect();
    assert_eq!(
        rows_digest(&rows).to_hex().as_str(),
        "c268c25e256169a2ed28858f52c19e2206309aefb5c3a8e10f862489f7303759"
    );
}
