//! What the completions of a step answer, as metrics that no reward function can hide: sentinels look at them, and so
//! does whoever asks whether a rising reward is a rising accuracy.

use std::collections::BTreeMap;

use gazal_tasks::{Extraction, Item};
use serde_json::{Map, Value, json};

/// Before a letter: its share among the options that completions chose, and among the right ones.
pub const CHOSEN: &str = "answer/letter_share/";
pub const RIGHT: &str = "answer/right_share/";
pub const ACCURACY: &str = "answer/accuracy";

/// Counts of a step.
#[derive(Default)]
pub struct Answers {
    all: usize,
    valid: usize,
    right: usize,
    chosen: BTreeMap<char, usize>,
    expected: BTreeMap<char, usize>,
}

impl Answers {
    pub fn add(&mut self, text: &str, item: &Item) {
        self.all += 1;
        if let Some(letter) = item.labels().nth(item.answer) {
            *self.expected.entry(letter).or_default() += 1;
        }
        let Extraction::Answer(index) = item.read(text) else { return };
        self.valid += 1;
        self.right += usize::from(index == item.answer);
        if let Some(letter) = item.labels().nth(index) {
            *self.chosen.entry(letter).or_default() += 1;
        }
    }

    /// Counts those of further completions too.
    pub fn extend(&mut self, other: &Answers) {
        self.all += other.all;
        self.valid += other.valid;
        self.right += other.right;
        for (own, other) in [(&mut self.chosen, &other.chosen), (&mut self.expected, &other.expected)] {
            other.iter().for_each(|(letter, count)| *own.entry(*letter).or_default() += count);
        }
    }

    pub fn metrics(&self) -> Map<String, Value> {
        let share = |count: usize, of: usize| json!(count as f64 / of.max(1) as f64);
        let mut metrics = Map::new();
        metrics.insert(ACCURACY.into(), share(self.right, self.all));
        metrics.insert("answer/invalid_ratio".into(), share(self.all - self.valid, self.all));
        for (letter, count) in &self.chosen {
            metrics.insert(format!("{CHOSEN}{letter}"), share(*count, self.valid));
        }
        for (letter, count) in &self.expected {
            metrics.insert(format!("{RIGHT}{letter}"), share(*count, self.all));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn letters_are_counted_among_valid_answers() {
        let item = json!({ "id": "1", "benchmark": "b", "question": "q", "options": ["x", "y"], "answer": 1 });
        let item: Item = serde_json::from_value(item).unwrap();
        let mut answers = Answers::default();
        for text in ["The answer is A.", "The answer is B.", "The answer is A.", "who knows"] {
            answers.add(text, &item);
        }
        let expected = json!({ "answer/accuracy": 0.25, "answer/invalid_ratio": 0.25,
            "answer/letter_share/A": 2.0 / 3.0, "answer/letter_share/B": 1.0 / 3.0, "answer/right_share/B": 1.0 });
        assert_eq!(json!(answers.metrics()), expected);
        let mut open = Answers::default();
        open.add("It is y.", &Item { open: true, ..item });
        assert_eq!(json!(open.metrics()), json!({ "answer/accuracy": 1.0, "answer/invalid_ratio": 0.0 }));
    }
}
