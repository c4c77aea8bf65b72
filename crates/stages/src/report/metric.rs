//! What is measured of a scored item, and how its mean is written.

use gazal_tasks::stats::Interval;
use serde::Serialize;

use crate::eval::{Protocol, Sample};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Accuracy,
    Reward,
    Format,
    Invalid,
    Unfinished,
}

impl Metric {
    /// What a protocol measures, in the order of the report.
    pub fn of(protocol: Protocol) -> &'static [Metric] {
        match protocol {
            Protocol::Loglikelihood => &[Metric::Accuracy],
            Protocol::GenerateCot => {
                &[Metric::Accuracy, Metric::Reward, Metric::Format, Metric::Invalid, Metric::Unfinished]
            }
        }
    }

    /// The item's value, or nothing where it was not measured.
    pub fn value(self, sample: &Sample) -> Option<f64> {
        let share = |yes: bool| Some(f64::from(u8::from(yes)));
        match self {
            Metric::Accuracy => share(sample.correct),
            Metric::Reward => sample.reward,
            Metric::Format => share(sample.formatted),
            Metric::Invalid => share(sample.answer.is_none()),
            Metric::Unfinished => share(sample.unfinished),
        }
    }

    /// As `eval` names it in `metrics.json`.
    pub fn name(self, protocol: Protocol) -> &'static str {
        match (self, protocol) {
            (Metric::Accuracy, Protocol::Loglikelihood) => "acc",
            (Metric::Accuracy, Protocol::GenerateCot) => "acc_generate_cot",
            (Metric::Reward, _) => "reward",
            (Metric::Format, _) => "format_ratio",
            (Metric::Invalid, _) => "invalid_ratio",
            (Metric::Unfinished, _) => "unfinished_ratio",
        }
    }

    /// Whether it says how answers are written rather than what they are.
    pub fn is_form(self) -> bool {
        matches!(self, Metric::Format | Metric::Invalid | Metric::Unfinished)
    }

    pub fn title(self) -> &'static str {
        match self {
            Metric::Accuracy => "Accuracy, %",
            Metric::Reward => "Mean reward on held-out questions",
            Metric::Format => "well-formed, %",
            Metric::Invalid => "no answer, %",
            Metric::Unfinished => "unfinished, %",
        }
    }

    /// `45.3` for a share, `1.234` for a reward.
    pub fn show(self, value: f64) -> String {
        let text = match self {
            Metric::Reward => format!("{value:.3}"),
            _ => format!("{:.1}", value * 100.0),
        };
        let is_zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
        if is_zero { text.trim_start_matches('-').into() } else { text }
    }

    /// [`Metric::show`] with the sign of a difference.
    pub fn show_signed(self, value: f64) -> String {
        let text = self.show(value);
        let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
        if is_zero || text.starts_with('-') { text } else { format!("+{text}") }
    }

    pub fn show_interval(self, interval: &Interval, signed: bool) -> String {
        let show = |value| if signed { self.show_signed(value) } else { self.show(value) };
        format!("[{}, {}]", show(interval.low), show(interval.high))
    }
}

/// The heading of what is measured under a protocol, and how its answers come about.
pub fn explain(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::Loglikelihood => (
            "Log-likelihood of the options",
            "The answer is the option that the model finds the most likely continuation of the question. Nothing is \
             generated, so the form of an answer plays no part.",
        ),
        Protocol::GenerateCot => (
            "Generated answers",
            "The model writes its reasoning, and the answer is read after </think>. An answer that cannot be read \
             counts as wrong.",
        ),
    }
}
