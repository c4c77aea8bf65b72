//! The measures that the abstracts of EXAdam compare optimizers by, of one training and of two.

use serde::Serialize;

/// One training, epoch by epoch, and its test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Of training.
    pub loss: Vec<f64>,
    pub accuracy: Vec<f64>,
    /// On held-out images.
    pub eval_accuracy: Vec<f64>,
    /// By the network of the last epoch.
    pub test_accuracy: Option<f64>,
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
}

impl Measure {
    pub const ALL: [Measure; 6] = [
        Measure::TrainLoss,
        Measure::Epochs,
        Measure::TrainAccuracy,
        Measure::EvalAccuracy,
        Measure::BestEvalAccuracy,
        Measure::TestAccuracy,
    ];

    /// Where there is little room.
    pub fn short(self) -> &'static str {
        match self {
            Measure::TrainLoss => "training loss",
            Measure::Epochs => "epochs",
            Measure::TrainAccuracy => "training",
            Measure::EvalAccuracy => "validation",
            Measure::BestEvalAccuracy => "best validation",
            Measure::TestAccuracy => "test",
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
        }
    }

    /// What a training gains over another: above 0 is better. Of losses and epochs the share that is saved, in percent, of
    /// accuracies the difference, in points.
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
        Curves { loss: loss.into(), accuracy: accuracy.into(), eval_accuracy, test_accuracy: Some(test) }
    }

    #[test]
    fn measures_by_hand() {
        let own = curves([1.0, 0.5, 0.25], [0.5, 0.85, 0.9], 0.9);
        let other = curves([2.0, 1.0, 1.0], [0.25, 0.5, 0.8], 0.875);
        let of = |measure: Measure| measure.of(&own, 0.8);
        assert_eq!(Measure::ALL.map(of), [Some(0.25), Some(2.0), Some(90.0), Some(70.0), Some(75.0), Some(90.0)]);
        let gain = |measure: Measure| measure.gain(&own, &other, 0.8).map(|gain| (gain * 1e6).round() / 1e6);
        let expected = [Some(58.333_333), Some(33.333_333), Some(10.0), Some(0.0), Some(0.0), Some(2.5)];
        assert_eq!(Measure::ALL.map(gain), expected);
    }

    #[test]
    fn what_was_not_reached_has_no_gain() {
        let (own, other) = (curves([1.0; 3], [0.9; 3], 0.5), curves([1.0; 3], [0.5; 3], 0.5));
        assert_eq!(Measure::Epochs.gain(&own, &other, 0.8), None);
        assert_eq!(Measure::TrainLoss.gain(&own, &Curves { loss: vec![1.0], ..other }, 0.8), None);
        assert_eq!(Measure::ALL.map(|measure| measure.of(&Curves::default(), 0.8)), [None; 6]);
    }
}
