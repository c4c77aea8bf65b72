//! What was published of EXAdam on CIFAR-10: the numbers of the abstracts of both versions of arXiv:2412.20302, and the
//! logs of the notebooks that they are of.
//!
//! `cifar_curves.csv.gz` has the 100 epochs that the notebook `cifar-10-cnn.ipynb` printed of each optimizer, in the
//! versions of February and of April 2025 (github.com/AhmedMostafa16/EXAdam, MIT): losses as sums of batch means over the
//! number of images, five decimals, and accuracies, four decimals. Test accuracies are those that it printed.

use std::collections::BTreeMap;

use gazal_stage_api::StageError;
use serde::Serialize;

use super::measure::{Curves, Measure};
use crate::embedded;

const CURVES: &[u8] = include_bytes!("cifar_curves.csv.gz");

/// Half of the last digit of what the notebooks print.
const LOSS_ROUNDING: f64 = 5e-6;
const ACCURACY_ROUNDING: f64 = 5e-5;
/// And of what the abstracts state.
const STATED_ROUNDING: f64 = 0.005;

/// The training accuracy that the second abstract counts epochs to, as its number says and it does not.
pub const TARGET: f64 = 0.8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    V1,
    V2,
}

impl Version {
    pub fn name(self) -> &'static str {
        match self {
            Version::V1 => "EXAdam v1",
            Version::V2 => "EXAdam v2",
        }
    }

    /// As `optim` spells it.
    pub fn optim(self) -> &'static str {
        match self {
            Version::V1 => "exadam_v1",
            Version::V2 => "exadam",
        }
    }

    pub fn notebook(self) -> &'static str {
        match self {
            Version::V1 => "v1_2025-02",
            Version::V2 => "v2_2025-04",
        }
    }

    fn test_accuracy(self) -> f64 {
        match self {
            Version::V1 => 0.9210,
            Version::V2 => 0.9083,
        }
    }
}

const EXADAM: &str = "EXAdam";
/// The names that the notebooks and `optim` have of what the abstracts may compare with.
pub const BASELINES: [(&str, &str); 2] = [("Adam", "adam"), ("AdamW", "adamw")];
const RMSPROP: &str = "RMSProp";
/// The same in both notebooks.
const TESTS: [(&str, f64); 5] =
    [("Adam", 0.8966), ("AdamW", 0.8971), (RMSPROP, 0.9014), ("SGD with Momentum", 0.4313), ("AdaDelta", 0.3745)];

/// A number of an abstract, and what it may be.
struct Claim {
    version: Version,
    stated: f64,
    measures: &'static [Measure],
}

const FASTER: &[Measure] = &[Measure::TrainLoss, Measure::Epochs];
const TRAINING: &[Measure] = &[Measure::TrainAccuracy];
const VALIDATION: &[Measure] = &[Measure::EvalAccuracy, Measure::BestEvalAccuracy];
const TEST: &[Measure] = &[Measure::TestAccuracy];

/// "Faster convergence" in percent, then the points gained in training, validation and testing, all over Adam.
const CLAIMS: [Claim; 8] = [
    Claim { version: Version::V1, stated: 48.07, measures: FASTER },
    Claim { version: Version::V1, stated: 4.6, measures: TRAINING },
    Claim { version: Version::V1, stated: 4.13, measures: VALIDATION },
    Claim { version: Version::V1, stated: 2.39, measures: TEST },
    Claim { version: Version::V2, stated: 38.46, measures: FASTER },
    Claim { version: Version::V2, stated: 1.96, measures: TRAINING },
    Claim { version: Version::V2, stated: 2.17, measures: VALIDATION },
    Claim { version: Version::V2, stated: 1.17, measures: TEST },
];

/// A number of an abstract beside what a measure of the logs gives.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub version: Version,
    pub stated: f64,
    pub measure: Measure,
    /// Over each of [`BASELINES`].
    pub logged: [Logged; 2],
    pub verdict: Follows,
}

/// What the logs give, and between what it lies since they are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Logged {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// Whether it may be what is stated.
    pub is_stated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    FromAdam,
    /// It is what is gained over AdamW, though the abstract names Adam.
    FromAdamw,
    No,
}

impl Follows {
    pub fn words(self) -> &'static str {
        match self {
            Follows::FromAdam => "follows from the logs",
            Follows::FromAdamw => "from AdamW, not Adam",
            Follows::No => "is another number",
        }
    }
}

/// The curves of both notebooks, by the notebook's version and the name of the optimizer there.
pub struct Logs(BTreeMap<(Version, String), Curves>);

impl Logs {
    /// # Errors
    /// A file that is not as described above.
    pub fn read() -> Result<Logs, StageError> {
        let mut logs: BTreeMap<(Version, String), Curves> = BTreeMap::new();
        for line in embedded::text(CURVES)?.lines().skip(1) {
            let wrong = || StageError::failed(format!("the published curves have a line `{line}`"));
            let [notebook, optimizer, _epoch, loss, accuracy, _eval_loss, eval_accuracy] =
                line.split(',').collect::<Vec<_>>()[..]
            else {
                return Err(wrong());
            };
            let number = |text: &str| text.parse::<f64>().map_err(|_| wrong());
            let version = [Version::V1, Version::V2].into_iter().find(|version| version.notebook() == notebook);
            let curves = logs.entry((version.ok_or_else(wrong)?, optimizer.to_string())).or_default();
            curves.loss.push(number(loss)?);
            curves.accuracy.push(number(accuracy)?);
            curves.eval_accuracy.push(number(eval_accuracy)?);
        }
        for ((version, optimizer), curves) in &mut logs {
            let other = TESTS.iter().find(|(name, _)| name == optimizer).map(|(_, accuracy)| *accuracy);
            curves.test_accuracy = if optimizer == EXADAM { Some(version.test_accuracy()) } else { other };
        }
        Ok(Logs(logs))
    }

    fn get(&self, version: Version, optimizer: &str) -> Result<&Curves, StageError> {
        let missing = || StageError::failed(format!("the published curves lack {optimizer}"));
        self.0.get(&(version, optimizer.to_string())).ok_or_else(missing)
    }

    /// Each number of the abstracts beside each measure that it may be.
    ///
    /// # Errors
    /// Curves that are missing.
    pub fn findings(&self) -> Result<Vec<Finding>, StageError> {
        let mut findings = Vec::new();
        for Claim { version, stated, measures } in CLAIMS {
            for &measure in measures {
                let mut logged = Vec::new();
                for (baseline, _) in BASELINES {
                    let (own, other) = (self.get(version, EXADAM)?, self.get(version, baseline)?);
                    logged.extend(Logged::new(measure, own, other, stated));
                }
                let [adam, adamw] = logged[..] else { return Err(StageError::failed("curves without epochs")) };
                let verdict = match (adam.is_stated, adamw.is_stated) {
                    (true, _) => Follows::FromAdam,
                    (_, true) => Follows::FromAdamw,
                    _ => Follows::No,
                };
                findings.push(Finding { version, stated, measure, logged: [adam, adamw], verdict });
            }
        }
        Ok(findings)
    }

    /// What else the logs say, in sentences.
    ///
    /// # Errors
    /// Curves that are missing.
    pub fn remarks(&self) -> Result<Vec<String>, StageError> {
        let others = TESTS.map(|(name, _)| name);
        let mut same = true;
        for name in others {
            same &= self.get(Version::V1, name)? == self.get(Version::V2, name)?;
        }
        let (own, rmsprop) = (self.get(Version::V2, EXADAM)?, self.get(Version::V2, RMSPROP)?);
        let gain = |measure: Measure| measure.gain(own, rmsprop, TARGET).unwrap_or(f64::NAN);
        let [training, test] = [Measure::TrainAccuracy, Measure::TestAccuracy].map(gain);
        let mut remarks = Vec::new();
        if same {
            remarks.push(format!(
                "In both notebooks the curves of {} are equal to the last digit: for the second version EXAdam alone was \
                 trained anew, so both abstracts compare with the same single runs.",
                others.join(", ")
            ));
        }
        remarks.push(format!(
            "Over RMSprop at the same rate EXAdam v2 gains {test:+.2} points on the test set and {training:+.2} in training, \
             from one run of each."
        ));
        remarks.push(
            "All optimizers have the rate 1e-4 there. At equal rates EXAdam's steps are at least twice as long as Adam's (its \
             first version's about ten times), and SGD and AdaDelta hardly move: what is compared is the length of steps as \
             well. The held-out images that decide about the rate are augmented, and each optimizer starts from other \
             weights."
                .into(),
        );
        Ok(remarks)
    }

    /// Lines for a picture: both versions of EXAdam, and those that learn beside them.
    ///
    /// # Errors
    /// Curves that are missing.
    pub fn lines(&self) -> Result<Vec<(String, &Curves)>, StageError> {
        let versions =
            [Version::V1, Version::V2].map(|version| Ok((version.name().to_string(), self.get(version, EXADAM)?)));
        // AdaDelta's hardly rises.
        let others = TESTS.iter().take(4).map(|(name, _)| {
            let first = name.split(' ').next().unwrap_or_default();
            Ok((first.to_string(), self.get(Version::V1, name)?))
        });
        versions.into_iter().chain(others).collect()
    }
}

impl Logged {
    fn new(measure: Measure, own: &Curves, other: &Curves, stated: f64) -> Option<Logged> {
        let value = measure.gain(own, other, TARGET)?;
        let [low, high] = match measure {
            Measure::TrainLoss => [LOSS_ROUNDING, -LOSS_ROUNDING].map(|by| {
                let moved = |curves: &Curves, by: f64| curves.loss.iter().map(|loss| loss + by).collect::<Vec<f64>>();
                let own = Curves { loss: moved(own, by), ..Curves::default() };
                let other = Curves { loss: moved(other, -by), ..Curves::default() };
                measure.gain(&own, &other, TARGET).unwrap_or(value)
            }),
            // 10,000 images: four decimals are all.
            Measure::TestAccuracy | Measure::Epochs => [value, value],
            _ => [-1.0, 1.0].map(|sign| value + sign * 100.0 * 2.0 * ACCURACY_ROUNDING),
        };
        // Sums of binary fractions are off by a little.
        let room = STATED_ROUNDING + 1e-9;
        Some(Logged { value, low, high, is_stated: (low - room..=high + room).contains(&stated) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_optimizer_has_a_hundred_epochs_in_both_notebooks() {
        let Logs(logs) = Logs::read().unwrap();
        assert_eq!(logs.len(), 12);
        assert!(logs.values().all(|curves| curves.loss.len() == 100 && curves.test_accuracy.is_some()));
        let first = &logs[&(Version::V1, EXADAM.to_string())];
        assert_eq!((first.loss[0], first.accuracy[99], first.eval_accuracy[99]), (0.01296, 0.9772, 0.9098));
    }

    /// The values by an independent program; what the notebooks print of the first is 48.0673 and 26.47.
    #[test]
    fn the_abstracts_numbers_follow_or_do_not() {
        let findings = Logs::read().unwrap().findings().unwrap();
        let found: Vec<_> = findings.iter().map(|f| (f.stated, f.measure, f.verdict)).collect();
        use Measure::{BestEvalAccuracy, Epochs, EvalAccuracy, TestAccuracy, TrainAccuracy, TrainLoss};
        let expected = [
            (48.07, TrainLoss, Follows::FromAdam),
            (48.07, Epochs, Follows::No),
            (4.6, TrainAccuracy, Follows::FromAdam),
            (4.13, EvalAccuracy, Follows::FromAdam),
            (4.13, BestEvalAccuracy, Follows::No),
            (2.39, TestAccuracy, Follows::FromAdamw),
            (38.46, TrainLoss, Follows::No),
            (38.46, Epochs, Follows::FromAdam),
            (1.96, TrainAccuracy, Follows::FromAdam),
            (2.17, EvalAccuracy, Follows::No),
            (2.17, BestEvalAccuracy, Follows::No),
            (1.17, TestAccuracy, Follows::FromAdam),
        ];
        assert_eq!(found, expected);
        let over_adam: Vec<f64> = findings.iter().map(|f| (f.logged[0].value * 1e4).round() / 1e4).collect();
        let values = [48.0899, 38.4615, 4.6, 4.13, 4.0, 2.44, 26.4646, 38.4615, 1.96, 2.13, 2.11, 1.17];
        assert_eq!(over_adam, values);
        let Logged { low, high, .. } = findings[0].logged[0];
        assert!((low - 47.724).abs() < 1e-3 && (high - 48.454).abs() < 1e-3, "{low} {high}");
        assert!((findings[5].logged[1].value - 2.39).abs() < 1e-9);
    }

    #[test]
    fn the_notebooks_share_their_baselines_and_rmsprop_trains_further() {
        let remarks = Logs::read().unwrap().remarks().unwrap();
        assert!(remarks[0].contains("equal to the last digit"));
        assert!(remarks[1].contains("+0.69 points on the test set and -0.50 in training"), "{}", remarks[1]);
        let logs = Logs::read().unwrap();
        assert_eq!(logs.lines().unwrap().len(), 6);
    }
}
