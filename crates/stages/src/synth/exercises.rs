//! Drills that say nothing true or false about medicine and answer themselves. They give the base model what a real
//! one has from its own pre-training: copying, looking things up, options and letters, comparing numbers, and the
//! marks that reasoning is written with. What none of them has is a question about the knowledge base.

use gazal_data::Draws;

use super::knowledge::{Condition, Fact};
use super::problems::{P_VALUES, Reasoning, letter, list};
use super::wording::{self, Split};

/// One exercise, with phrases drawn from the knowledge base without what they belong to.
pub fn exercise(conditions: &[Condition], draws: &mut Draws) -> String {
    match draws.below(8) {
        0 | 1 => {
            let count = 3 + draws.below(7);
            repetition(&phrases(conditions, count, draws))
        }
        2 => notes(&phrases(conditions, 3, draws), draws),
        3..=5 => letters(conditions, draws),
        6 => drawers(&phrases(conditions, 4, draws), draws),
        _ => study(conditions, draws),
    }
}

/// Different phrases.
fn phrases(conditions: &[Condition], count: usize, draws: &mut Draws) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    while found.len() < count {
        let condition = draws.pick(conditions);
        let phrase = match draws.below(4) {
            0 => condition.name.clone(),
            1 => draws.pick(&condition.findings).clone(),
            _ => draws.pick(&Fact::ALL).of(condition).to_string(),
        };
        if !found.contains(&phrase) {
            found.push(phrase);
        }
    }
    found
}

fn repetition(contents: &[String]) -> String {
    let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
    let text = list(&contents);
    format!("The list is {text}. Once more, the list is {text}.")
}

/// Findings read and repeated; a random three, so that nothing follows from them.
fn notes(contents: &[String], draws: &mut Draws) -> String {
    let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
    let text = list(&contents);
    let note = draws.pick(wording::vignettes(Split::Train)).replace("{f}", &text);
    format!("Question: {note} What are the findings?\n<think>\nStep 1: The findings {text} are all.\n</think>")
}

/// Options, and the letters of several of them.
fn letters(conditions: &[Condition], draws: &mut Draws) -> String {
    let count = if draws.below(4) == 0 { 10 } else { 4 };
    let options = phrases(conditions, count, draws);
    let lettered: Vec<String> =
        options.iter().enumerate().map(|(at, option)| format!("{}. {option}", letter(at))).collect();
    let mut order: Vec<usize> = (0..count).collect();
    draws.shuffle(&mut order);
    let steps: Vec<String> = order
        .iter()
        .take(4)
        .enumerate()
        .map(|(step, &at)| format!("Step {}: So {} is option {}.", step + 1, options[at], letter(at)))
        .collect();
    format!("{}\n<think>\n{}\n</think>", lettered.join("\n"), steps.join("\n"))
}

/// What is in which drawer, and a question about one of them, answered at once or after a look.
fn drawers(contents: &[String], draws: &mut Draws) -> String {
    let lines: Vec<String> =
        contents.iter().enumerate().map(|(index, text)| format!("Drawer {} holds {text}.", index + 1)).collect();
    let asked = draws.below(contents.len());
    let mut options = contents.to_vec();
    draws.shuffle(&mut options);
    let answer = letter(options.iter().position(|option| *option == contents[asked]).unwrap_or(0));
    let lettered: Vec<String> =
        options.iter().enumerate().map(|(at, option)| format!("{}. {option}", letter(at))).collect();
    let choices = if draws.below(3) == 0 { "Choices:\n" } else { "" };
    let question = format!(
        "{}\nQuestion: What does drawer {} hold?\n{choices}{}\n",
        lines.join(" "),
        asked + 1,
        lettered.join("\n")
    );
    if draws.below(3) == 0 {
        return format!("{question}Answer: {answer}");
    }
    let heading = draws.pick(&Reasoning::ALL).heading();
    format!(
        "{question}<think>\nStep 1: {}\nStep 2: So {} is option {answer}.\n</think>\n{heading}\nThe answer is {answer}.",
        lines[asked], contents[asked],
    )
}

/// A study's abstract, its parts repeated and its p value compared; not what follows from it.
fn study(conditions: &[Condition], draws: &mut Draws) -> String {
    let names = phrases(conditions, 2, draws);
    let side = draws.below(3);
    let p = draws.pick(P_VALUES[side]);
    let fill = |text: &str| text.replace("{t}", &names[0]).replace("{c}", &names[1]).replace("{p}", p);
    let numbers = [40 + 20 * draws.below(20), 20 + draws.below(50), 20 + draws.below(50)];
    let text = fill(draws.pick::<&str>(wording::abstracts(Split::Train)));
    let text =
        ["{n}", "{a}", "{b}"].iter().zip(numbers).fold(text, |text, (mark, n)| text.replace(mark, &n.to_string()));
    let question = fill(draws.pick::<&str>(wording::abstract_questions(Split::Train)));
    let heading = draws.pick(&Reasoning::ALL).heading();
    let words = draws.pick(&["yes", "no", "maybe"]);
    format!(
        "Abstract: {text}\nQuestion: {question}\n<think>\nStep 1: The study compares {} with placebo.\nStep 2: The p = {p} is {} 0.05.\n</think>\n{heading}\nThe word is {words}.",
        names[0],
        ["below", "far above", "near"][side],
    )
}
