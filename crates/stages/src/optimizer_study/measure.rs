//! The measures that optimizers are compared by, of one training and of two: on images those of EXAdam's abstracts.

use serde::Serialize;

/// One training: of images epoch by epoch, and its test; of text evaluation by evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Of training; of text without dropout.
    pub loss: Vec<f64>,
    pub accuracy: Vec<f64>,
    /// On held-out images.
    pub eval_accuracy: Vec<f64>,
    /// By the network of the last epoch.
    pub test_accuracy: Option<f64>,
    /// On held-out text.
    pub eval_loss: Vec<f64>,
    /// After which text was evaluated.
    pub steps: Vec<f64>,
}

impl Curves {
    /// Where a curve's numbers lie: at steps, or at epochs counted from 1.
    pub fn x(&self, index: usize) -> f64 {
        self.steps.get(index).copied().unwrap_or((index + 1) as f64)
    }

    /// The lowest loss on held-out text, and its step.
    fn best(&self) -> Option<(f64, f64)> {
        let losses = self.eval_loss.iter().copied().zip(self.steps.iter().copied());
        losses.reduce(|best, one| if one.0 < best.0 { one } else { best })
    }
}

/// What the trainings of a study are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Images,
    Text,
}

impl Sort {
    pub fn measures(self) -> &'static [Measure] {
        match self {
            Sort::Images => &Measure::IMAGES,
            Sort::Text => &Measure::TEXT,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    TrainLoss,
    Epochs,
    TrainAccuracy,
    EvalAccuracy,
    BestEvalAccuracy,
    TestAccuracy,
    LastTrainLoss,
    LastEvalLoss,
    BestEvalLoss,
    /// To the lowest loss on held-out text; of two, to that of the baseline.
    Steps,
}

impl Measure {
    pub const IMAGES: [Measure; 6] = [
        Measure::TrainLoss,
        Measure::Epochs,
        Measure::TrainAccuracy,
        Measure::EvalAccuracy,
        Measure::BestEvalAccuracy,
        Measure::TestAccuracy,
    ];

    pub const TEXT: [Measure; 4] =
        [Measure::LastTrainLoss, Measure::LastEvalLoss, Measure::BestEvalLoss, Measure::Steps];

    /// Where there is little room.
    pub fn short(self) -> &'static str {
        match self {
            Measure::TrainLoss => "training loss",
            Measure::Epochs => "epochs",
            Measure::TrainAccuracy => "training",
            Measure::EvalAccuracy => "validation",
            Measure::BestEvalAccuracy => "best validation",
            Measure::TestAccuracy => "test",
            Measure::LastTrainLoss => "training",
            Measure::LastEvalLoss => "held out",
            Measure::BestEvalLoss => "lowest held out",
            Measure::Steps => "steps",
        }
    }

    /// Of one training, behind the point.
    pub fn decimals(self) -> usize {
        match self {
            Measure::TrainLoss | Measure::LastTrainLoss | Measure::LastEvalLoss | Measure::BestEvalLoss => 3,
            Measure::Steps => 0,
            _ => 1,
        }
    }

    /// Of what one training gains over another.
    pub fn gain_decimals(self, gain: f64) -> usize {
        match self {
            Measure::LastTrainLoss | Measure::LastEvalLoss | Measure::BestEvalLoss => 3,
            _ if gain.abs() < 10.0 => 2,
            _ => 1,
        }
    }

    /// Of one training.
    pub fn name(self, target: f64) -> String {
        match self {
            Measure::TrainLoss => "last training loss".into(),
            Measure::Epochs => format!("epochs to {:.0}% in training", 100.0 * target),
            Measure::TrainAccuracy => "training accuracy, %".into(),
            Measure::EvalAccuracy => "validation accuracy, %".into(),
            Measure::BestEvalAccuracy => "best validation accuracy, %".into(),
            Measure::TestAccuracy => "test accuracy, %".into(),
            Measure::LastTrainLoss => "last training loss".into(),
            Measure::LastEvalLoss => "last held-out loss".into(),
            Measure::BestEvalLoss => "lowest held-out loss".into(),
            Measure::Steps => "steps to the lowest held-out loss".into(),
        }
    }

    /// Of one training over another.
    pub fn gain_name(self, target: f64) -> String {
        match self {
            Measure::TrainLoss => "training loss lower, % (mean over epochs)".into(),
            Measure::Epochs => format!("fewer epochs to {:.0}% in training, %", 100.0 * target),
            Measure::TrainAccuracy => "last training accuracy, points".into(),
            Measure::EvalAccuracy => "last validation accuracy, points".into(),
            Measure::BestEvalAccuracy => "best validation accuracy, points".into(),
            Measure::TestAccuracy => "test accuracy, points".into(),
            Measure::LastTrainLoss => "last training loss lower".into(),
            Measure::LastEvalLoss => "last held-out loss lower".into(),
            Measure::BestEvalLoss => "lowest held-out loss lower".into(),
            Measure::Steps => "fewer steps to the other's lowest held-out loss, %".into(),
        }
    }

    /// Of one training: accuracies in percent; nothing for a target that is not reached, and without epochs.
    pub fn of(self, curves: &Curves, target: f64) -> Option<f64> {
        match self {
            Measure::TrainLoss => curves.loss.last().copied(),
            Measure::Epochs => epochs_to(&curves.accuracy, target),
            Measure::TrainAccuracy => curves.accuracy.last().map(|accuracy| 100.0 * accuracy),
            Measure::EvalAccuracy => curves.eval_accuracy.last().map(|accuracy| 100.0 * accuracy),
            Measure::BestEvalAccuracy => curves.eval_accuracy.iter().copied().reduce(f64::max).map(|best| 100.0 * best),
            Measure::TestAccuracy => curves.test_accuracy.map(|accuracy| 100.0 * accuracy),
            Measure::LastTrainLoss => curves.loss.last().copied(),
            Measure::LastEvalLoss => curves.eval_loss.last().copied(),
            Measure::BestEvalLoss => curves.best().map(|(loss, _)| loss),
            Measure::Steps => curves.best().map(|(_, step)| step),
        }
    }

    /// What a training gains over another: above 0 is better. Of epochs, steps and the losses of all epochs the share that
    /// is saved, in percent, of accuracies the difference, in points, of single losses how much lower they are.
    pub fn gain(self, curves: &Curves, baseline: &Curves, target: f64) -> Option<f64> {
        match self {
            Measure::TrainLoss => {
                let pairs = curves.loss.iter().zip(&baseline.loss);
                let saved: f64 = pairs.map(|(own, other)| (other - own) / other).sum();
                let epochs = curves.loss.len();
                (epochs > 0 && epochs == baseline.loss.len()).then(|| 100.0 * saved / epochs as f64)
            }
            Measure::Epochs => {
                let (own, other) = (self.of(curves, target)?, self.of(baseline, target)?);
                Some(100.0 * (other - own) / other)
            }
            Measure::LastTrainLoss | Measure::LastEvalLoss | Measure::BestEvalLoss => {
                Some(self.of(baseline, target)? - self.of(curves, target)?)
            }
            Measure::Steps => {
                let (lowest, other) = baseline.best()?;
                let own = curves.eval_loss.iter().position(|loss| *loss <= lowest).map(|at| curves.x(at))?;
                Some(100.0 * (other - own) / other)
            }
            _ => Some(self.of(curves, target)? - self.of(baseline, target)?),
        }
    }
}

/// The first epoch, counted from 1, that reaches an accuracy.
fn epochs_to(accuracy: &[f64], target: f64) -> Option<f64> {
    accuracy.iter().position(|value| *value >= target).map(|epoch| (epoch + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(loss: [f64; 3], accuracy: [f64; 3], test: f64) -> Curves {
        let eval_accuracy = vec![0.5, 0.75, 0.7];
        Curves {
            loss: loss.into(),
            accuracy: accuracy.into(),
            eval_accuracy,
            test_accuracy: Some(test),
            ..Curves::default()
        }
    }

    #[test]
    fn measures_by_hand() {
        let own = curves([1.0, 0.5, 0.25], [0.5, 0.85, 0.9], 0.9);
        let other = curves([2.0, 1.0, 1.0], [0.25, 0.5, 0.8], 0.875);
        let of = |measure: Measure| measure.of(&own, 0.8);
        assert_eq!(Measure::IMAGES.map(of), [Some(0.25), Some(2.0), Some(90.0), Some(70.0), Some(75.0), Some(90.0)]);
        let gain = |measure: Measure| measure.gain(&own, &other, 0.8).map(|gain| (gain * 1e6).round() / 1e6);
        let expected = [Some(58.333_333), Some(33.333_333), Some(10.0), Some(0.0), Some(0.0), Some(2.5)];
        assert_eq!(Measure::IMAGES.map(gain), expected);
    }

    #[test]
    fn what_was_not_reached_has_no_gain() {
        let (own, other) = (curves([1.0; 3], [0.9; 3], 0.5), curves([1.0; 3], [0.5; 3], 0.5));
        assert_eq!(Measure::Epochs.gain(&own, &other, 0.8), None);
        assert_eq!(Measure::TrainLoss.gain(&own, &Curves { loss: vec![1.0], ..other }, 0.8), None);
        assert_eq!(Measure::IMAGES.map(|measure| measure.of(&Curves::default(), 0.8)), [None; 6]);
    }

    #[test]
    fn measures_of_text_by_hand() {
        let text = |loss: [f64; 4], eval_loss: [f64; 4]| Curves {
            loss: loss.into(),
            eval_loss: eval_loss.into(),
            steps: vec![50.0, 100.0, 150.0, 200.0],
            ..Curves::default()
        };
        let own = text([2.0, 1.5, 1.0, 0.5], [2.25, 1.75, 1.5, 2.0]);
        let other = text([2.5, 2.25, 2.0, 1.75], [2.5, 2.25, 2.0, 1.75]);
        let of = |curves: &Curves| Measure::TEXT.map(|measure| measure.of(curves, 0.8));
        assert_eq!(of(&own), [Some(0.5), Some(2.0), Some(1.5), Some(150.0)]);
        assert_eq!(of(&other), [Some(1.75), Some(1.75), Some(1.75), Some(200.0)]);
        let gain = |own: &Curves, other: &Curves| Measure::TEXT.map(|measure| measure.gain(own, other, 0.8));
        // 1.75 after 100 steps instead of 200; and 1.5 never.
        assert_eq!(gain(&own, &other), [Some(1.25), Some(-0.25), Some(0.25), Some(50.0)]);
        assert_eq!(gain(&other, &own), [Some(-1.25), Some(0.25), Some(-0.25), None]);
        assert_eq!(of(&Curves::default()), [None; 4]);
    }
}
