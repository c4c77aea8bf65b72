//! Sentinels: what the history of a policy's training shows of reward hacking and instability, and what to do then.
//!
//! [`verdicts`] is a function of the history alone, so a resumed run judges as an undisturbed one. Each sentinel looks
//! at the means of TRL's metrics over a window of steps, since single steps of a few completions say little. One whose
//! metric is not in the history says nothing.
//!
//! The thresholds are where practice puts alarms (axolotl's documentation on `frac_reward_zero_std`, clipped ratio,
//! entropy and KL; the others are of the same caution): a healthy run stays far away from them.

use std::collections::BTreeMap;

use gazal_stage_api::{JsonSchema, Problem};
use gazal_train::mean;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answers::{ACCURACY, CHOSEN, RIGHT};

/// An entry of the history.
pub type Entry = Map<String, Value>;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Sentinel {
    /// By which factor completions have become longer or shorter since the first window.
    LengthDrift,
    /// Share of completions that reach the limit.
    ClippedRatio,
    /// By how much the share of one letter among the answers is above its share among the right ones.
    LetterBias,
    /// By how much a reward (`metric`; the format if none is given) has risen since the first window while accuracy
    /// has not: what pays is not what is wanted.
    FlatAccuracy,
    /// Share of groups whose completions all earn the same, from which nothing is learned.
    NoSpread,
    /// Mean entropy of the policy in nats; the alarm is below the threshold.
    EntropyCollapse,
    /// To the reference, in nats a token.
    Kl,
    /// The gradient's norm as a multiple of its median in the window before.
    GradientSpike,
}

/// What happens when a sentinel finds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Action {
    /// Nothing is looked at.
    Off,
    /// It is said, and noted in `trainer_state.json`.
    #[default]
    Warn,
    /// The stage fails.
    Stop,
    /// Back to before the window, with a lower learning rate.
    Rollback,
}

/// What a file says of one sentinel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Setting {
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// For `flat_accuracy`: the metric that must not rise alone, such as `reward` or `rewards/regex_reward/mean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

/// Sentinels by name; those that are not named have their defaults and warn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Sentinels(BTreeMap<Sentinel, Setting>);

/// What a sentinel has found at the last step of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub sentinel: Sentinel,
    pub step: u64,
    pub value: f64,
    pub threshold: f64,
    pub window: usize,
    pub action: Action,
}

impl Sentinel {
    pub const ALL: [Sentinel; 8] = [
        Sentinel::LengthDrift,
        Sentinel::ClippedRatio,
        Sentinel::LetterBias,
        Sentinel::FlatAccuracy,
        Sentinel::NoSpread,
        Sentinel::EntropyCollapse,
        Sentinel::Kl,
        Sentinel::GradientSpike,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Sentinel::LengthDrift => "length_drift",
            Sentinel::ClippedRatio => "clipped_ratio",
            Sentinel::LetterBias => "letter_bias",
            Sentinel::FlatAccuracy => "flat_accuracy",
            Sentinel::NoSpread => "no_spread",
            Sentinel::EntropyCollapse => "entropy_collapse",
            Sentinel::Kl => "kl",
            Sentinel::GradientSpike => "gradient_spike",
        }
    }

    /// Threshold and window.
    fn defaults(self) -> (f64, usize) {
        match self {
            Sentinel::LengthDrift => (2.0, 10),
            Sentinel::ClippedRatio | Sentinel::NoSpread => (0.8, 10),
            Sentinel::LetterBias => (0.3, 10),
            Sentinel::FlatAccuracy => (0.25, 10),
            Sentinel::EntropyCollapse => (0.01, 10),
            Sentinel::Kl => (2.0, 5),
            Sentinel::GradientSpike => (10.0, 20),
        }
    }

    fn is_wrong(self, value: f64, threshold: f64) -> bool {
        if self == Sentinel::EntropyCollapse { value < threshold } else { value > threshold }
    }

    /// What it measures at the end of a history; nothing while that is too short, or without its metric.
    fn measure(self, setting: &Setting, window: usize, history: &[Entry]) -> Option<f64> {
        let last = history.get(history.len().checked_sub(window)?..)?;
        match self {
            Sentinel::LengthDrift => drift(first(history, window)?, last),
            Sentinel::ClippedRatio => level(last, "completions/clipped_ratio"),
            Sentinel::LetterBias => letter_bias(last),
            Sentinel::FlatAccuracy => {
                let metric = setting.metric.as_deref().unwrap_or("rewards/think_format_reward/mean");
                rise_alone(first(history, window)?, last, metric)
            }
            Sentinel::NoSpread => level(last, "frac_reward_zero_std"),
            Sentinel::EntropyCollapse => level(last, "entropy"),
            Sentinel::Kl => level(last, "kl"),
            Sentinel::GradientSpike => spike(history, window),
        }
    }
}

impl Sentinels {
    fn setting(&self, sentinel: Sentinel) -> Setting {
        self.0.get(&sentinel).cloned().unwrap_or_default()
    }

    /// Whether any of them rolls back.
    pub fn roll_back(&self) -> bool {
        self.0.values().any(|setting| setting.action == Action::Rollback)
    }

    /// The longest window of those that roll back.
    pub fn longest_window(&self) -> usize {
        let windows = self.0.iter().filter(|(_, setting)| setting.action == Action::Rollback);
        windows.map(|(sentinel, setting)| setting.window.unwrap_or(sentinel.defaults().1)).max().unwrap_or(0)
    }

    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (sentinel, setting) in &self.0 {
            let field = |name: &str| format!("sentinels.{}.{name}", sentinel.name());
            if setting.window == Some(0) {
                problems.push(Problem::new(&field("window"), "must be at least 1"));
            }
            if setting.threshold.is_some_and(|threshold| !threshold.is_finite()) {
                problems.push(Problem::new(&field("threshold"), "is not a finite number"));
            }
            if setting.metric.is_some() && *sentinel != Sentinel::FlatAccuracy {
                problems.push(Problem::new(&field("metric"), "can only be chosen for `flat_accuracy`"));
            }
        }
        problems
    }
}

/// What is wrong at the last step of a history, in the order of [`Sentinel::ALL`].
pub fn verdicts(sentinels: &Sentinels, history: &[Entry]) -> Vec<Verdict> {
    let Some(step) = history.last().and_then(|entry| entry.get("step")?.as_u64()) else { return Vec::new() };
    let verdict = |sentinel: Sentinel| {
        let setting = sentinels.setting(sentinel);
        let (threshold, window) = sentinel.defaults();
        let (threshold, window) = (setting.threshold.unwrap_or(threshold), setting.window.unwrap_or(window));
        if setting.action == Action::Off {
            return None;
        }
        let value = sentinel.measure(&setting, window, history)?;
        let action = setting.action;
        sentinel.is_wrong(value, threshold).then_some(Verdict { sentinel, step, value, threshold, window, action })
    };
    Sentinel::ALL.into_iter().filter_map(verdict).collect()
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { sentinel, step, value, threshold, window, .. } = self;
        let side = if *sentinel == Sentinel::EntropyCollapse { "below" } else { "above" };
        let name = sentinel.name();
        write!(f, "sentinel `{name}` at step {step}: {value:.4} is {side} its threshold {threshold} ({window} steps)")
    }
}

/// The first window, where it does not reach into the last one.
fn first(history: &[Entry], window: usize) -> Option<&[Entry]> {
    history.get(..window).filter(|_| history.len() >= 2 * window)
}

/// The mean of a metric over the entries that have it.
fn level(entries: &[Entry], metric: &str) -> Option<f64> {
    let values: Vec<f64> = entries.iter().filter_map(|entry| entry.get(metric)?.as_f64()).collect();
    Some(mean(&values)).filter(|mean| !mean.is_nan())
}

fn drift(first: &[Entry], last: &[Entry]) -> Option<f64> {
    let length = |entries| level(entries, "completions/mean_length").filter(|length| *length > 0.0);
    let factor = length(last)? / length(first)?;
    Some(factor.max(1.0 / factor))
}

/// A rise of accuracy up to this is none: the standard error of a window of a few hundred answers.
const FLAT: f64 = 0.02;

fn rise_alone(first: &[Entry], last: &[Entry], metric: &str) -> Option<f64> {
    let rise = |metric| Some(level(last, metric)? - level(first, metric)?);
    let (paid, wanted) = (rise(metric)?, rise(ACCURACY)?);
    Some(if wanted <= FLAT { paid } else { 0.0 })
}

/// A letter that nobody chose in a step has the share 0 there.
fn letter_bias(entries: &[Entry]) -> Option<f64> {
    let answered: Vec<&Entry> = entries.iter().filter(|entry| letters(entry).next().is_some()).collect();
    let share = |prefix: &str, letter: &str| {
        let of = |entry: &&Entry| entry.get(&format!("{prefix}{letter}")).and_then(Value::as_f64).unwrap_or(0.0);
        answered.iter().map(of).sum::<f64>() / answered.len() as f64
    };
    let all = answered.iter().flat_map(|entry| letters(entry));
    all.map(|letter| share(CHOSEN, letter) - share(RIGHT, letter)).reduce(f64::max)
}

fn letters(entry: &Entry) -> impl Iterator<Item = &str> {
    entry.keys().filter_map(|key| key.strip_prefix(CHOSEN))
}

/// The last norm over the median of those in the window before; steps without a gradient do not count.
fn spike(history: &[Entry], window: usize) -> Option<f64> {
    let (last, before) = history.split_last()?;
    let before = before.get(before.len().checked_sub(window)?..)?;
    let norm = |entry: &Entry| entry.get("grad_norm")?.as_f64().filter(|norm| *norm > 0.0);
    let mut norms: Vec<f64> = before.iter().filter_map(norm).collect();
    norms.sort_by(f64::total_cmp);
    Some(norm(last)? / norms.get(norms.len() / 2)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// A history whose entries are made from the step.
    fn history(steps: u64, entry: impl Fn(u64) -> Value) -> Vec<Entry> {
        let made = (1..=steps).map(|step| {
            let mut made = entry(step).as_object().cloned().unwrap();
            made.insert("step".into(), json!(step));
            made
        });
        made.collect()
    }

    fn read(settings: Value) -> Sentinels {
        serde_json::from_value(settings).unwrap()
    }

    /// What the defaults find at each step, by name and step.
    fn found(history: &[Entry]) -> Vec<(&'static str, u64)> {
        let at = |end: usize| verdicts(&Sentinels::default(), &history[..end]);
        let all = (1..=history.len()).flat_map(at);
        let mut first: Vec<(&str, u64)> = all.map(|verdict| (verdict.sentinel.name(), verdict.step)).collect();
        first.dedup_by_key(|(name, _)| *name);
        first
    }

    #[test]
    fn a_healthy_history_is_left_alone() {
        let healthy = history(100, |step| {
            json!({ "completions/mean_length": 50.0 + step as f64 / 4.0, "completions/clipped_ratio": 0.2,
                "rewards/think_format_reward/mean": 0.2 + step as f64 / 200.0,
                "answer/accuracy": 0.3 + step as f64 / 400.0, "frac_reward_zero_std": 0.3, "entropy": 0.4, "kl": 0.05,
                "grad_norm": 1.0 + (step % 3) as f64, "answer/letter_share/A": 0.4, "answer/right_share/A": 0.25 })
        });
        assert_eq!(found(&healthy), []);
        assert_eq!(found(&[]), []);
    }

    #[test]
    fn each_sentinel_finds_its_own() {
        let late = |step: u64, before: f64, after: f64| if step > 40 { after } else { before };
        for (metric, before, after, name) in [
            ("completions/mean_length", 50.0, 200.0, "length_drift"),
            ("completions/mean_length", 200.0, 20.0, "length_drift"),
            ("completions/clipped_ratio", 0.1, 1.0, "clipped_ratio"),
            ("frac_reward_zero_std", 0.1, 1.0, "no_spread"),
            ("entropy", 0.3, 0.001, "entropy_collapse"),
            ("kl", 0.1, 9.0, "kl"),
            ("grad_norm", 1.0, 50.0, "gradient_spike"),
        ] {
            let (name_found, step) = found(&history(60, |step| json!({ metric: late(step, before, after) })))[0];
            assert_eq!(name_found, name);
            assert!((41..=50).contains(&step), "{name} was found at {step}");
        }
    }

    #[test]
    fn a_letter_is_biased_beyond_its_share_among_the_right_ones() {
        let share = |step: u64| (step as f64 / 40.0).min(1.0);
        let biased = history(60, |step| {
            json!({ "answer/letter_share/C": share(step), "answer/letter_share/A": 1.0 - share(step),
                "answer/right_share/A": 0.5, "answer/right_share/C": 0.5 })
        });
        let verdict = verdicts(&Sentinels::default(), &biased).remove(0);
        assert_eq!((verdict.sentinel, verdict.value), (Sentinel::LetterBias, 0.5));
        let right = history(20, |_| json!({ "answer/letter_share/C": 1.0, "answer/right_share/C": 0.9 }));
        assert_eq!(found(&right), []);
    }

    #[test]
    fn what_pays_must_not_rise_alone() {
        let hacked = |accuracy: f64| {
            history(40, move |step| {
                json!({ "rewards/think_format_reward/mean": step as f64 / 40.0, "rewards/other/mean": 0.5,
                    "answer/accuracy": 0.25 + accuracy * step as f64 / 40.0 })
            })
        };
        let verdict = verdicts(&Sentinels::default(), &hacked(0.0)).remove(0);
        assert_eq!((verdict.sentinel, verdict.step), (Sentinel::FlatAccuracy, 40));
        assert!((verdict.value - 0.75).abs() < 1e-9, "from the mean of steps 1–10 to that of 31–40");
        assert_eq!(found(&hacked(0.3)), []);
        let other = read(json!({ "flat_accuracy": { "metric": "rewards/other/mean" } }));
        assert_eq!(verdicts(&other, &hacked(0.0)), []);
    }

    #[test]
    fn settings_decide_threshold_window_and_action() {
        let flat = history(4, |_| json!({ "frac_reward_zero_std": 0.5 }));
        let settings = read(json!({ "no_spread": { "action": "stop", "threshold": 0.4, "window": 4 } }));
        let verdict = verdicts(&settings, &flat).remove(0);
        assert_eq!((verdict.action, verdict.threshold, verdict.window), (Action::Stop, 0.4, 4));
        assert_eq!(verdict.to_string(), "sentinel `no_spread` at step 4: 0.5000 is above its threshold 0.4 (4 steps)");
        assert_eq!(verdicts(&settings, &flat[..3]), [], "shorter than the window");
        let off = read(json!({ "no_spread": { "action": "off", "threshold": 0.4, "window": 4 } }));
        assert_eq!(verdicts(&off, &flat), []);
    }

    #[test]
    fn mistakes_are_said() {
        let wrong = read(json!({ "kl": { "window": 0, "metric": "x" } })).problems();
        let fields: Vec<&str> = wrong.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["sentinels.kl.window", "sentinels.kl.metric"]);
        let error = serde_json::from_value::<Sentinels>(json!({ "k1": {} })).unwrap_err().to_string();
        assert!(error.contains("unknown variant `k1`") && error.contains("`kl`"), "{error}");
    }
}
