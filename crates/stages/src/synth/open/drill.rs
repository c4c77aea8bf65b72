//! What a base model has of its own pre-training and a small one needs before it can be shown the form of an answer:
//! questions, reasoning between its marks and answers that follow from it, about nothing medical.

use gazal_data::Draws;

use crate::synth::exercises::phrases;
use crate::synth::knowledge::Condition;
use crate::synth::language::Wording;

/// Phrases in numbered drawers, and what one of them holds, in the form of a reasoned answer.
pub fn drill(conditions: &[Condition], wording: &Wording, draws: &mut Draws) -> String {
    let contents = phrases(conditions, 3, draws);
    let number = |at: usize| (at + 1).to_string();
    let line = |at: usize| Wording::fill(wording.drawer, &[("{n}", &number(at)), ("{x}", &contents[at])]);
    let lines: Vec<String> = (0..contents.len()).map(line).collect();
    let asked = draws.below(contents.len());
    let question = wording.drawer_question.replace("{n}", &number(asked));
    let answer = Wording::fill(wording.answer, &[("{x}", &contents[asked])]);
    let gap = wording.between_sentences;
    format!("{}{gap}{question}<think>\n{}\n</think>\n\n{answer}", lines.join(gap), lines[asked])
}
