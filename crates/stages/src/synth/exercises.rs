//! Drills that say nothing true or false about medicine and answer themselves. They give the base model what a real
//! one has from its own pre-training: copying, looking things up, options and letters, comparing numbers, and the
//! marks that reasoning is written with. What none of them has is a question about the knowledge base.

use gazal_data::Draws;

use super::knowledge::{Condition, Fact};
use super::problems::{P_VALUES, Reasoning, letter, list};
use super::wording::{self, Split};

/// The first drill: copying, which everything else is read with.
pub fn first_exercise(conditions: &[Condition], draws: &mut Draws) -> String {
    match draws.below(2) {
        0 => words(conditions, draws),
        _ => letters(conditions, draws),
    }
}

/// One exercise, with phrases drawn from the knowledge base without what they belong to.
pub fn exercise(conditions: &[Condition], draws: &mut Draws) -> String {
    match draws.below(11) {
        0 | 1 => {
            let count = 3 + draws.below(5);
            repetition(&phrases(conditions, count, draws))
        }
        2 | 3 => notes(&phrases(conditions, 3, draws), draws),
        4..=6 => letters(conditions, draws),
        7 | 8 => drawers(&phrases(conditions, 4, draws), draws),
        _ => study(conditions, draws),
    }
}

/// A few words, again and again: what induction heads are for.
fn words(conditions: &[Condition], draws: &mut Draws) -> String {
    let count = *draws.pick(&[4, 6, 8, 12, 16]);
    let phrases = phrases(conditions, count, draws);
    let words: Vec<&str> = phrases
        .iter()
        .map(|phrase| {
            let words: Vec<&str> = phrase.split(' ').collect();
            *draws.pick(&words)
        })
        .collect();
    format!("Words: {}.", vec![words.join(" "); 60 / count].join(" "))
}

/// Different phrases.
pub fn phrases(conditions: &[Condition], count: usize, draws: &mut Draws) -> Vec<String> {
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
    let mut order: Vec<usize> = (0..count).collect();
    draws.shuffle(&mut order);
    let steps: Vec<String> = order
        .iter()
        .take(4)
        .enumerate()
        .map(|(step, &at)| format!("Step {}: So {} {}.", step + 1, options[at], letter(at)))
        .collect();
    format!("{}\n<think>\n{}\n</think>", listed(&options), steps.join("\n"))
}

/// As [`gazal_tasks::Item::listed`].
fn listed(options: &[String]) -> String {
    let lines: Vec<String> =
        options.iter().enumerate().map(|(at, option)| format!("- {option} {}", letter(at))).collect();
    lines.join("\n")
}

/// What is in which drawer, and a question about one of them, answered at once in words or after a look by letter.
fn drawers(contents: &[String], draws: &mut Draws) -> String {
    let lines: Vec<String> =
        contents.iter().enumerate().map(|(index, text)| format!("Drawer {} holds {text}.", index + 1)).collect();
    let asked = draws.below(contents.len());
    let mut options = contents.to_vec();
    draws.shuffle(&mut options);
    let answer = letter(options.iter().position(|option| *option == contents[asked]).unwrap_or(0));
    let question = format!("{}\nQuestion: What does drawer {} hold?\n", lines.join(" "), asked + 1);
    if draws.below(3) == 0 {
        let choices = draws.pick(&["", "Choices:\n", "Options:\n"]);
        let lettered: Vec<String> =
            options.iter().enumerate().map(|(at, option)| format!("{}. {option}\n", letter(at))).collect();
        return format!("{question}{choices}{}Answer: {}", lettered.concat(), contents[asked]);
    }
    let heading = draws.pick(&Reasoning::ALL).heading();
    format!(
        "{question}{}\n<think>\nStep 1: {}\nStep 2: So {} {answer}.\n</think>\n{heading}\nThe answer is {answer}.",
        listed(&options),
        lines[asked],
        contents[asked],
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
        "Abstract: {text}\nQuestion: {question}\n<think>\nStep 1: The study compares {} with placebo.\nStep 2: The p = {p} is {} .05.\n</think>\n{heading}\nThe word is {words}.",
        names[0],
        ["below", "far above", "near"][side],
    )
}
