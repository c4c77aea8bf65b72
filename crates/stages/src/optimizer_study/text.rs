//! What was published of EXAdam on text: the logs of the notebook `mingpt.ipynb`, of which no abstract has a number.
//!
//! `shakespeare_curves.csv.gz` has the evaluations that the notebook printed of each optimizer, every 500 iterations, in
//! the versions of February (5,000 iterations) and of April 2025 (8,000; github.com/AhmedMostafa16/EXAdam, MIT): losses
//! without dropout, means of 200 batches, three decimals. All optimizers were trained anew for the second.

use std::collections::BTreeMap;

use gazal_stage_api::StageError;
use serde::Serialize;

use super::measure::{Curves, Measure, Sort};
use super::published::{TARGET, Version};
use crate::embedded;

const CURVES: &[u8] = include_bytes!("shakespeare_curves.csv.gz");

const EXADAM: &str = "EXAdam";
/// What EXAdam is compared with: in the notebooks, and as `optim` spells it.
pub const BASELINE: (&str, &str) = ("Adam", "adam");
const ADAMW: &str = "AdamW";
/// In the order of the page; SGD hardly learns at this rate, and is in no picture.
const OPTIMIZERS: [&str; 7] = [EXADAM, BASELINE.0, ADAMW, "AdEMAMix", "Signum", "AdaFactor", "SGD with Momentum"];

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// A training of a notebook.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    pub version: Version,
    pub optimizer: &'static str,
    /// In the order of [`Measure::TEXT`].
    pub measures: Vec<Option<f64>>,
}

/// What EXAdam gains over Adam in a notebook by a measure, or that it does not reach it.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedGain {
    pub version: Version,
    pub measure: Measure,
    pub gain: Option<f64>,
}

/// The curves of both notebooks.
pub struct Logs(BTreeMap<(Version, &'static str), Curves>);

impl Logs {
    /// # Errors
    /// A file that is not as described above.
    pub fn read() -> Result<Logs, StageError> {
        let mut logs: BTreeMap<(Version, &'static str), Curves> = BTreeMap::new();
        for line in embedded::text(CURVES)?.lines().skip(1) {
            let wrong = || StageError::failed(format!("the published curves of text have a line `{line}`"));
            let [notebook, optimizer, iteration, loss, eval_loss] = line.split(',').collect::<Vec<_>>()[..] else {
                return Err(wrong());
            };
            let number = |text: &str| text.parse::<f64>().map_err(|_| wrong());
            let version = VERSIONS.into_iter().find(|version| version.notebook() == notebook).ok_or_else(wrong)?;
            let name = OPTIMIZERS.into_iter().find(|name| *name == optimizer).ok_or_else(wrong)?;
            let curves = logs.entry((version, name)).or_default();
            curves.steps.push(number(iteration)?);
            curves.loss.push(number(loss)?);
            curves.eval_loss.push(number(eval_loss)?);
        }
        match logs.len() == VERSIONS.len() * OPTIMIZERS.len() {
            true => Ok(Logs(logs)),
            false => Err(StageError::failed("the published curves of text lack an optimizer")),
        }
    }

    fn get(&self, version: Version, optimizer: &'static str) -> &Curves {
        &self.0[&(version, optimizer)]
    }

    fn of(&self, version: Version, optimizer: &'static str, measure: Measure) -> f64 {
        measure.of(self.get(version, optimizer), TARGET).unwrap_or(f64::NAN)
    }

    /// Every training, notebook by notebook.
    pub fn trainings(&self) -> Vec<Logged> {
        let logged = |version, optimizer| {
            let measures = Sort::Text.measures().iter();
            let measures = measures.map(|measure| measure.of(self.get(version, optimizer), TARGET)).collect();
            Logged { version, optimizer, measures }
        };
        VERSIONS.into_iter().flat_map(|version| OPTIMIZERS.map(|optimizer| logged(version, optimizer))).collect()
    }

    pub fn gains(&self) -> Vec<LoggedGain> {
        let gain = |version, measure: Measure| {
            let [own, other] = [EXADAM, BASELINE.0].map(|optimizer| self.get(version, optimizer));
            LoggedGain { version, measure, gain: measure.gain(own, other, TARGET) }
        };
        VERSIONS.into_iter().flat_map(|version| Measure::TEXT.map(|measure| gain(version, measure))).collect()
    }

    /// What the logs say and what they do not, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = VERSIONS.map(|version| self.first_and_last(version)).into();
        remarks.push(self.noise());
        remarks.push(self.length_of_steps());
        remarks.push(
            "All have the rate 1e-4 but AdaFactor: that of `torch_optimizer`, whose `relative_step` is on, looks at no `lr` and \
             takes steps of 0.01 times a parameter's root mean square. This run's AdaFactor takes the rate that it is given \
             (transformers' `scale_parameter = False, relative_step = False`)."
                .into(),
        );
        remarks.push(
            "The notebook's attention divides scores by the root of the model's width instead of a head's, and no two \
             optimizers share initial weights or batches. This run does the first as well, and lets the trainings of a seed \
             share both."
                .into(),
        );
        remarks
    }

    /// Which is first depends on whether the last loss or the lowest counts.
    fn first_and_last(&self, version: Version) -> String {
        use Measure::{BestEvalLoss, LastEvalLoss, LastTrainLoss, Steps};
        let [own, adam] = [EXADAM, BASELINE.0];
        let end = self.get(version, own).steps.last().copied().unwrap_or_default();
        let pair = |measure| (self.of(version, own, measure), self.of(version, adam, measure));
        let ((train, adam_train), (last, adam_last)) = (pair(LastTrainLoss), pair(LastEvalLoss));
        let ((lowest, adam_lowest), (step, adam_step)) = (pair(BestEvalLoss), pair(Steps));
        let gain = adam_lowest - lowest;
        let [by_last, by_lowest] = [LastEvalLoss, BestEvalLoss].map(|measure| self.place(version, measure));
        format!(
            "{}: after {end} iterations it has a training loss of {train:.3} (Adam {adam_train:.3}) and a held-out loss of \
             {last:.3} (Adam {adam_last:.3}): it has come to know its text by heart. Its lowest held-out loss is {lowest:.3} \
             after {step} iterations, Adam's {adam_lowest:.3} after {adam_step}, a gain of {gain:.3}. Of seven optimizers it \
             is number {by_last} by the last held-out loss and number {by_lowest} by the lowest.",
            version.name()
        )
    }

    /// Counted from 1.
    fn place(&self, version: Version, measure: Measure) -> usize {
        let of = |optimizer| self.of(version, optimizer, measure);
        1 + OPTIMIZERS.into_iter().filter(|other| of(other) < of(EXADAM)).count()
    }

    /// How far apart two trainings by the same optimizer are.
    fn noise(&self) -> String {
        let apart = OPTIMIZERS.into_iter().filter(|name| *name != EXADAM).flat_map(|name| {
            let [first, second] = VERSIONS.map(|version| &self.get(version, name).eval_loss);
            first.iter().zip(second).map(|(first, second)| (first - second).abs())
        });
        let most = apart.fold(0.0, f64::max);
        let lowest = |name| self.of(Version::V2, name, Measure::BestEvalLoss);
        let [own, adam, adamw] = [EXADAM, BASELINE.0, ADAMW].map(lowest);
        format!(
            "Each number is of one training. The other six optimizers were trained in both notebooks, and the held-out losses \
             of the same optimizer at the same iteration differ by up to {most:.3}. EXAdam v2's lowest is {:.3} below Adam's \
             and {:.3} below AdamW's: nobody can tell that from chance.",
            adam - own,
            adamw - own
        )
    }

    fn length_of_steps(&self) -> String {
        let (own, adam) = (self.get(Version::V2, EXADAM), self.get(Version::V2, BASELINE.0));
        let half = own.steps.len() / 2;
        let at = |curves: &Curves, count: usize| {
            let last = |values: &[f64]| values[..count].last().copied().unwrap_or(f64::NAN);
            (last(&curves.steps), last(&curves.loss), last(&curves.eval_loss))
        };
        let ((own_step, own_loss, own_eval), (step, loss, eval)) = (at(own, half), at(adam, adam.steps.len()));
        format!(
            "After {own_step} iterations EXAdam v2 is about where Adam is after {step}: {own_loss:.3} in training and \
             {own_eval:.3} held out, beside {loss:.3} and {eval:.3}. At equal rates its steps are about twice as long: Adam at \
             twice the rate is what it should be compared with."
        )
    }

    /// Lines for pictures: each notebook's, by optimizer.
    pub fn lines(&self, version: Version) -> Vec<(&'static str, &Curves)> {
        OPTIMIZERS.into_iter().take(6).map(|name| (name, self.get(version, name))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_optimizer_was_evaluated_ten_and_sixteen_times() {
        let Logs(logs) = Logs::read().unwrap();
        for ((version, name), curves) in &logs {
            let times = if *version == Version::V1 { 10 } else { 16 };
            assert_eq!([curves.steps.len(), curves.loss.len(), curves.eval_loss.len()], [times; 3], "{name}");
            assert_eq!(curves.steps.last(), Some(&(500.0 * times as f64)));
            assert!(curves.loss.is_sorted_by(|before, after| before >= after), "{name}: training losses fall");
        }
    }

    /// What the notebooks print: last training and held-out loss, the lowest, and its iteration.
    #[test]
    fn the_notebooks_numbers_are_there() {
        let trainings = Logs::read().unwrap().trainings();
        let of = |version, optimizer: &str| {
            let one = trainings.iter().find(|one| one.version == version && one.optimizer == optimizer).unwrap();
            one.measures.iter().map(|value| value.unwrap()).collect::<Vec<f64>>()
        };
        assert_eq!(of(Version::V1, "EXAdam"), [0.611, 1.794, 1.497, 2000.0]);
        assert_eq!(of(Version::V1, "Adam"), [1.322, 1.567, 1.567, 5000.0]);
        assert_eq!(of(Version::V2, "EXAdam"), [0.892, 1.571, 1.492, 5000.0]);
        assert_eq!(of(Version::V2, "Adam"), [1.185, 1.505, 1.503, 7500.0]);
        assert_eq!(of(Version::V2, "AdamW"), [1.184, 1.494, 1.494, 8000.0]);
        assert_eq!(of(Version::V2, "AdEMAMix"), [1.128, 1.502, 1.497, 7000.0]);
        assert_eq!(of(Version::V2, "Signum"), [0.686, 1.729, 1.494, 3500.0]);
        assert_eq!(of(Version::V2, "AdaFactor"), [0.465, 2.003, 1.51, 3000.0]);
    }

    #[test]
    fn gains_over_adam_turn_with_the_measure() {
        let gains: Vec<f64> = Logs::read().unwrap().gains().iter().map(|one| one.gain.unwrap()).collect();
        // The fourths: 1.523 after 1,500 of 5,000 iterations; 1.503 after 4,000 of 7,500.
        let expected = [0.711, -0.227, 0.07, 70.0, 0.293, -0.066, 0.011, 100.0 * 3500.0 / 7500.0];
        gains.iter().zip(expected).for_each(|(gain, expected)| assert!((gain - expected).abs() < 1e-9, "{gains:?}"));
        assert_eq!(gains.len(), 8);
    }

    #[test]
    fn remarks_are_sentences_about_these_numbers() {
        let remarks = Logs::read().unwrap().remarks().join("\n");
        for text in [
            "EXAdam v1: after 5000 iterations it has a training loss of 0.611 (Adam 1.322) and a held-out loss of 1.794",
            "a gain of 0.070. Of seven optimizers it is number 6 by the last held-out loss and number 2 by the lowest",
            "1.492 after 5000 iterations, Adam's 1.503 after 7500, a gain of 0.011",
            "number 4 by the last held-out loss and number 1 by the lowest",
            "differ by up to 0.025. EXAdam v2's lowest is 0.011 below Adam's and 0.002 below AdamW's",
            "After 4000 iterations EXAdam v2 is about where Adam is after 8000: 1.201 in training and 1.503 held out, beside \
             1.185 and 1.505",
        ] {
            assert!(remarks.contains(text), "{text}\n{remarks}");
        }
    }
}
