#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use gazal_data::Stream;
use gazal_tasks::rewards::Reference;
use gazal_tasks::{Completion, Extraction, RewardFunc};

use super::problems::{OpenMaker, OpenProblem};
use super::*;
use crate::synth::knowledge::{Fact, conditions};

fn problems(language: Language, split: Split, count: u64) -> Vec<OpenProblem> {
    let conditions = conditions(language).unwrap();
    let maker = OpenMaker { conditions: &conditions, wording: language.wording(), split };
    let stream = Stream::new(11, "test");
    (0..count).map(|row| maker.draw(row as usize % conditions.len(), &mut stream.draws(row))).collect()
}

/// The judge that needs no model gives its highest tier to what an example says, and a lower one to any other answer
/// that the item knows.
#[test]
fn an_example_earns_the_highest_tier_and_no_other_answer_does() {
    let judge = RewardFunc::Reference(Reference::DEFAULT);
    for language in [Language::En, Language::Zh] {
        for problem in problems(language, Split::Train, 800) {
            let item = Item { id: "1".into(), ..problem.item }.checked().unwrap();
            let tier = |answer: &str| {
                let text = format!("<think>\n{}\n</think>\n\n{answer}", problem.reasoning);
                judge.score(&Completion { text: &text, ids: &[], finished: true, limit: 64 }, &item).unwrap()
            };
            assert_eq!(tier(&problem.response), 2.0, "{item:?}");
            assert_eq!(item.read(&problem.response), Extraction::Answer(0), "{item:?}");
            assert!(item.options.len() > 10 && tier(&item.options[1]) <= -0.5, "{item:?}");
        }
    }
}

#[test]
fn no_question_is_in_training_and_held_out() {
    for language in [Language::En, Language::Zh] {
        let asked = |split| -> BTreeSet<String> {
            problems(language, split, 3000).into_iter().map(|problem| problem.item.question).collect()
        };
        assert_eq!(asked(Split::Train).intersection(&asked(Split::HeldOut)).next(), None);
        let wording = language.wording();
        for fact in Fact::ALL {
            let held_out = (wording.fact_questions)(fact, Split::HeldOut);
            assert!((wording.fact_questions)(fact, Split::Train).iter().all(|train| !held_out.contains(train)));
        }
    }
}

#[test]
fn chinese_is_written_as_chinese_is() {
    let conditions = conditions(Language::Zh).unwrap();
    let wording = Language::Zh.wording();
    assert_eq!(wording.list(&["发热", "咳嗽", "胸痛"]), "发热、咳嗽和胸痛");
    assert_eq!(wording.list(&["发热"]), "发热");
    let stream = Stream::new(3, "pages");
    for row in 0..50 {
        let page = page(&conditions, wording, &mut stream.draws(row));
        assert!(page.matches('。').count() == 6 && !page.contains([' ', '{', '}']), "{page}");
    }
    let drill = drill(&conditions, wording, &mut stream.draws(0));
    assert!(drill.contains("格是什么？<think>\n第") && drill.contains("\n</think>\n\n"), "{drill}");
    let gout = &problems(Language::Zh, Split::HeldOut, 1)[0];
    assert!(gout.item.question.ends_with('？') && gout.response.ends_with('。'), "{gout:?}");
}
