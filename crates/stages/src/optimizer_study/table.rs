//! The numbers of a study: of each label over its seeds, and of comparisons, paired by seed.

use gazal_stage_api::StageError;
use gazal_tasks::stats::{Bootstrap, Comparison, Interval, Score, StatsError, Student, Verdict, holm};
use serde::Serialize;

use super::measure::{Curves, Sort};
use super::trainings::Training;

/// Of intervals, and of what is called a difference.
pub const LEVEL: f64 = 0.95;

/// A mean over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mean {
    pub mean: f64,
    /// Student's; nothing of a single seed.
    pub interval: Option<Interval>,
    /// How many seeds have the measure, and how many there are.
    pub seeds: [usize; 2],
}

impl Mean {
    fn of(values: &[Option<f64>]) -> Option<Mean> {
        let found: Vec<f64> = values.iter().copied().flatten().collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let interval = Student::of(&found, LEVEL).map(|student| student.interval);
        (!found.is_empty()).then_some(Mean { mean, interval, seeds: [found.len(), values.len()] })
    }
}

/// All trainings of a label.
#[derive(Clone, Debug, Serialize)]
pub struct LabelRow {
    pub label: String,
    pub optim: String,
    pub learning_rate: f64,
    /// In the order of [`Sort::measures`].
    pub means: Vec<Option<Mean>>,
}

/// What a label gains over a baseline.
#[derive(Clone, Debug, Serialize)]
pub struct GainRow {
    pub label: String,
    pub optim: String,
    /// In the order of [`Sort::measures`].
    pub gains: Vec<Option<Gain>>,
    /// The same test images, seed by seed; what is tested is whether other images would say the same of these seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Comparison>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_verdict: Option<Verdict>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    #[serde(flatten)]
    pub mean: Mean,
    /// That it is zero, by Holm's correction over the labels of the comparison; nothing of a single seed.
    pub p_adjusted: Option<f64>,
    pub verdict: Option<Verdict>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub title: String,
    pub baseline: String,
    pub baseline_optim: String,
    pub rows: Vec<GainRow>,
}

/// The trainings of a study, and the training accuracy that epochs are counted to.
pub struct Study<'a> {
    pub trainings: &'a [Training],
    pub sort: Sort,
    pub target: f64,
    pub bootstrap: Bootstrap,
}

impl Study<'_> {
    /// In order of appearance.
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for training in self.trainings {
            if !labels.contains(&training.label.as_str()) {
                labels.push(&training.label);
            }
        }
        labels
    }

    fn of(&self, label: &str) -> Vec<&Training> {
        self.trainings.iter().filter(|training| training.label == label).collect()
    }

    pub fn label_row(&self, label: &str) -> Option<LabelRow> {
        let trainings = self.of(label);
        let first = trainings.first()?;
        let means = self.sort.measures().iter().map(|measure| {
            let values: Vec<_> = trainings.iter().map(|training| measure.of(&training.curves, self.target)).collect();
            Mean::of(&values)
        });
        let (label, optim, learning_rate) = (first.label.clone(), first.optim.clone(), first.learning_rate);
        Some(LabelRow { label, optim, learning_rate, means: means.collect() })
    }

    /// Labels beside a baseline, over the groups that both have.
    ///
    /// # Errors
    /// A label that no training has, or one that shares no group with the baseline; test images that differ.
    pub fn compare(&self, title: &str, baseline: &str, labels: &[String]) -> Result<Compared, StageError> {
        let mut rows = Vec::new();
        for label in labels {
            rows.push(self.gain_row(label, baseline)?);
        }
        for index in 0..self.sort.measures().len() {
            correct(&mut rows, index);
        }
        let found = self.of(baseline);
        let baseline_optim = found.first().map_or_else(String::new, |training| training.optim.clone());
        Ok(Compared { title: title.into(), baseline: baseline.into(), baseline_optim, rows })
    }

    fn gain_row(&self, label: &str, baseline: &str) -> Result<GainRow, StageError> {
        let pairs = self.pairs(label, baseline)?;
        let gains = self.sort.measures().iter().map(|measure| {
            let gain = |(own, other): &(&Training, &Training)| measure.gain(&own.curves, &other.curves, self.target);
            let values: Vec<Option<f64>> = pairs.iter().map(gain).collect();
            let found: Vec<f64> = values.iter().copied().flatten().collect();
            let p_adjusted = Student::of(&found, LEVEL).map(|student| student.p);
            Mean::of(&values).map(|mean| Gain { mean, p_adjusted, verdict: None })
        });
        let gains = gains.collect();
        let images = match self.sort {
            Sort::Images => Some(self.over_images(&pairs).map_err(|error| {
                StageError::failed(format!("`{label}` cannot be compared with `{baseline}`: {error}"))
            })?),
            Sort::Text => None,
        };
        let images_verdict = images.as_ref().map(|images| images.verdict(images.test.p, 1.0 - LEVEL));
        let optim = pairs.first().map_or_else(String::new, |(own, _)| own.optim.clone());
        Ok(GainRow { label: label.into(), optim, gains, images, images_verdict })
    }

    fn over_images(&self, pairs: &[(&Training, &Training)]) -> Result<Comparison, StatsError> {
        let scores: Vec<(&[Score], &[Score])> =
            pairs.iter().map(|(own, other)| (other.scores.as_slice(), own.scores.as_slice())).collect();
        Comparison::of(&scores, &self.bootstrap)
    }

    /// Trainings of two labels in the same group.
    fn pairs(&self, label: &str, baseline: &str) -> Result<Vec<(&Training, &Training)>, StageError> {
        let (own, other) = (self.of(label), self.of(baseline));
        for (name, found) in [(label, &own), (baseline, &other)] {
            if found.is_empty() {
                let message = format!("`{name}` is no label of the histories; they have {}", self.labels().join(", "));
                return Err(StageError::Params("comparisons".into(), message));
            }
        }
        let paired = |own: &Training| other.iter().find(|other| other.group == own.group).copied();
        let pairs: Vec<_> = own.into_iter().filter_map(|own| Some((own, paired(own)?))).collect();
        match pairs.is_empty() {
            true => Err(StageError::failed(format!("`{label}` and `{baseline}` have no group (seed) in common"))),
            false => Ok(pairs),
        }
    }

    /// The mean curve of a label, as far as all its trainings have it.
    pub fn mean_curve(&self, label: &str, curve: fn(&Curves) -> &[f64]) -> Vec<(f64, f64)> {
        let all: Vec<&Curves> = self.of(label).into_iter().map(|training| &training.curves).collect();
        let points = all.iter().map(|curves| curve(curves).len()).min().unwrap_or_default();
        let mean = |at: usize| all.iter().map(|curves| curve(curves)[at]).sum::<f64>() / all.len() as f64;
        (0..points).map(|at| (all.first().map_or(0.0, |curves| curves.x(at)), mean(at))).collect()
    }
}

/// Corrects the p of one measure over the rows, and gives verdicts.
fn correct(rows: &mut [GainRow], index: usize) {
    let gains: Vec<&mut Gain> = rows.iter_mut().filter_map(|row| row.gains.get_mut(index)?.as_mut()).collect();
    let tested: Vec<&mut Gain> = gains.into_iter().filter(|gain| gain.p_adjusted.is_some()).collect();
    let p: Vec<f64> = tested.iter().filter_map(|gain| gain.p_adjusted).collect();
    for (gain, p) in tested.into_iter().zip(holm(&p)) {
        gain.p_adjusted = Some(p);
        gain.verdict = Some(match gain.mean.mean {
            _ if p > 1.0 - LEVEL || p.is_nan() => Verdict::WithinNoise,
            mean if mean > 0.0 => Verdict::Better,
            _ => Verdict::Worse,
        });
    }
}
