//! From cells to runs: networks of one number of points and rotations are trained side by side, and leave when they hold
//! the target.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gazal_data::{Stream, jsonl};
use gazal_lm::device::within;
use gazal_stage_api::{Context, StageError};
use gazal_tasks::symmetry::{Anomaly, Cell, Family, Petals, Rotation, Run, Sample};
use serde::{Deserialize, Serialize};

use super::Params;
use super::model::{Batch, Networks, Start, losses};
use crate::device;

/// A row of `runs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    #[serde(flatten)]
    pub run: Run,
    /// That it was trained for.
    pub epochs: usize,
    /// As the study counts them.
    pub flops: u64,
    /// The study's digest of its data.
    pub data: String,
}

/// A row of `curves`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub family: Family,
    #[serde(flatten)]
    pub cell: Cell,
    pub epochs: Vec<usize>,
    pub val_loss: Vec<f64>,
    pub val_accuracy: Vec<f64>,
}

/// What a network came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trained {
    ended: Ended,
    curve: Curve,
}

pub fn run(params: &Params, context: &mut Context) -> Result<(), StageError> {
    let device = device::open(context)?;
    let levels: Vec<(u32, f64, usize)> = params
        .groups
        .iter()
        .flat_map(|&n| params.noise.iter().map(move |&noise| (n, noise)))
        .flat_map(|(n, noise)| params.samples.iter().map(move |&samples| (n, noise, samples)))
        .collect();
    let each = (params.families.len() * params.seeds.len()) as u64;
    let mut all = Vec::new();
    for (done, level) in levels.iter().enumerate() {
        let file = kept(context.wip(), *level);
        if !file.exists() {
            let results = train_level(params, *level, &device, context)?;
            // By a new name first: a file of that name is whole.
            let draft = file.with_extension("tmp");
            jsonl::write_all(&draft, &results).map_err(StageError::failed)?;
            fs::rename(&draft, &file).map_err(StageError::io(&file))?;
        }
        all.extend(jsonl::read_all::<Trained>(&file).map_err(StageError::failed)?);
        let reached = all.iter().filter(|one| one.ended.run.best_val_accuracy >= params.target_accuracy).count();
        context.progress((done as u64 + 1) * each, levels.len() as u64 * each, "runs", &[("reached", reached as f64)]);
    }
    let runs = context.output("runs")?.join("train.jsonl");
    jsonl::write_all(&runs, all.iter().map(|one| &one.ended)).map_err(StageError::failed)?;
    let curves = context.output("curves")?.join("train.jsonl");
    jsonl::write_all(&curves, all.iter().map(|one| &one.curve)).map_err(StageError::failed)?;
    Ok(())
}

/// Where the results of a level stay while the stage runs.
fn kept(wip: &Path, (n, noise, samples): (u32, f64, usize)) -> PathBuf {
    wip.join(format!("{n}-{noise}-{samples}.jsonl"))
}

/// All families and seeds of a level.
fn train_level(
    params: &Params,
    (n, noise, samples): (u32, f64, usize),
    device: &Device,
    context: &Context,
) -> Result<Vec<Trained>, StageError> {
    let cell = |seed: u64| Cell { n, samples, noise, seed };
    let data: BTreeMap<u64, Petals> = params.seeds.iter().map(|&seed| (seed, cell(seed).petals())).collect();
    let mut of_orbit: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for &family in &params.families {
        let training = family.training_orbit(n);
        let members = data.iter().map(|(&seed, data)| Member::new(family, cell(seed), &training, data));
        of_orbit.entry(training.len()).or_default().extend(members);
    }
    let mut results = Vec::new();
    for (_, members) in of_orbit {
        results.extend(Training::new(params, members, device).run(context)?);
    }
    results.sort_by_key(|one| {
        let place = params.families.iter().position(|&family| family == one.curve.family);
        (place, one.curve.cell.seed)
    });
    Ok(results)
}

/// A network that is trained, with what is known of it so far.
struct Member<'a> {
    family: Family,
    cell: Cell,
    training: Vec<Rotation>,
    evaluation: Vec<Rotation>,
    data: &'a Petals,
    curve: Curve,
    /// Evaluations in a row at the target.
    held: usize,
    last_loss: f64,
}

impl<'a> Member<'a> {
    fn new(family: Family, cell: Cell, training: &[Rotation], data: &'a Petals) -> Member<'a> {
        let curve = Curve { family, cell, epochs: Vec::new(), val_loss: Vec::new(), val_accuracy: Vec::new() };
        let evaluation = family.evaluation_orbit(cell.n);
        Member { family, cell, training: training.to_vec(), evaluation, data, curve, held: 0, last_loss: 0.0 }
    }

    fn end(self, epochs: usize, is_last: bool) -> Trained {
        let best = self.curve.val_accuracy.iter().copied().fold(0.0, f64::max);
        let anomaly = Anomaly::of(self.last_loss, best, is_last);
        let run = Run { family: self.family, cell: self.cell, best_val_accuracy: best, anomaly };
        let flops = self.family.run_flops(self.cell.n, self.cell.samples, epochs);
        Trained { ended: Ended { run, epochs, flops, data: self.data.hash() }, curve: self.curve }
    }
}

/// Points of a sample under all rotations, one rotation after the other.
fn rotated<'a>(
    sample: &'a Sample,
    rotations: &'a [Rotation],
    places: &'a [usize],
) -> impl Iterator<Item = f32> + use<'a> {
    rotations.iter().flat_map(move |rotation| places.iter().flat_map(move |&place| rotation.of(sample.points[place])))
}

struct Training<'a> {
    params: &'a Params,
    members: Vec<Member<'a>>,
    networks: Networks,
}

impl<'a> Training<'a> {
    /// Members have as many rotations in training, and as many points.
    fn new(params: &'a Params, members: Vec<Member<'a>>, device: &Device) -> Training<'a> {
        let start = |member: &Member| Start { seed: member.cell.seed, weight_decay: member.family.weight_decay() };
        let networks = Networks::new(&members.iter().map(start).collect::<Vec<_>>(), device);
        Training { params, members, networks }
    }

    fn run(mut self, context: &Context) -> Result<Vec<Trained>, StageError> {
        let device = self.networks.device().clone();
        let mut ended = Vec::new();
        for epoch in 1..=self.params.num_train_epochs {
            if context.cancelled() {
                return Err(StageError::Cancelled);
            }
            within(&device, || self.epoch(epoch));
            let is_last = epoch == self.params.num_train_epochs;
            // The study counts epochs from 0.
            if is_last || (epoch - 1).is_multiple_of(self.params.eval_epochs) {
                within(&device, || self.evaluate(epoch));
                ended.extend(self.let_go(epoch, is_last));
            }
            if self.members.is_empty() {
                break;
            }
        }
        Ok(ended)
    }

    fn epoch(&mut self, epoch: usize) {
        let orders: Vec<Vec<usize>> = self.members.iter().map(|member| order(member, epoch)).collect();
        let points = orders.first().map_or(0, Vec::len);
        for from in (0..points).step_by(self.params.per_device_train_batch_size) {
            let to = points.min(from + self.params.per_device_train_batch_size);
            let mut batch = Batch { points: Vec::new(), labels: Vec::new(), rotations: 1 };
            for (member, order) in self.members.iter().zip(&orders) {
                let (sample, places) = (&member.data.train, &order[from..to]);
                batch.rotations = member.training.len();
                batch.points.extend(rotated(sample, &member.training, places));
                batch.labels.extend(places.iter().map(|&place| sample.labels[place]));
            }
            let losses = self.networks.learn(&batch, self.params.learning_rate);
            self.members.iter_mut().zip(losses).for_each(|(member, loss)| member.last_loss = loss);
        }
    }

    /// Members with as many rotations in evaluation are evaluated together.
    fn evaluate(&mut self, epoch: usize) {
        let mut of_orbit: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, member) in self.members.iter().enumerate() {
            of_orbit.entry(member.evaluation.len()).or_default().push(at);
        }
        for (rotations, places) in of_orbit {
            let mut batch = Batch { points: Vec::new(), labels: Vec::new(), rotations };
            for &at in &places {
                let (member, sample) = (&self.members[at], &self.members[at].data.validation);
                let all: Vec<usize> = (0..sample.points.len()).collect();
                batch.points.extend(rotated(sample, &member.evaluation, &all));
                batch.labels.extend(&sample.labels);
            }
            let points = batch.labels.len() / places.len();
            let logits = self.networks.evaluate(&places, &batch);
            let losses = losses(&logits, &batch.labels, points);
            let seen = logits.chunks(points).zip(batch.labels.chunks(points)).zip(losses);
            for (&at, ((logits, labels), loss)) in places.iter().zip(seen) {
                let right = logits.iter().zip(labels).filter(|(logit, label)| (**logit > 0.0) == (**label > 0.5));
                self.members[at].see(epoch, loss, right.count() as f64 / points as f64, self.params);
            }
        }
    }

    /// Takes out those that have held the target for long enough, or all.
    fn let_go(&mut self, epoch: usize, all: bool) -> Vec<Trained> {
        let patience = self.params.patience;
        let is_done = |member: &Member| all || member.held >= patience;
        let staying: Vec<usize> = (0..self.members.len()).filter(|&at| !is_done(&self.members[at])).collect();
        if !staying.is_empty() && staying.len() < self.members.len() {
            self.networks.keep(&staying);
        }
        let (ended, stay) = std::mem::take(&mut self.members).into_iter().partition::<Vec<_>, _>(is_done);
        self.members = stay;
        ended.into_iter().map(|member| member.end(epoch, all)).collect()
    }
}

impl Member<'_> {
    fn see(&mut self, epoch: usize, loss: f64, accuracy: f64, params: &Params) {
        self.curve.epochs.push(epoch);
        self.curve.val_loss.push(loss);
        self.curve.val_accuracy.push(accuracy);
        self.held = if accuracy >= params.target_accuracy { self.held + 1 } else { 0 };
    }
}

/// The order of an epoch follows from the seed alone.
fn order(member: &Member, epoch: usize) -> Vec<usize> {
    Stream::new(member.cell.seed, "symmetry: order").permutation(epoch as u64, member.cell.samples)
}
