//! How often 95% intervals contain the truth, and how often no difference is called one.
//!
//! ```text
//! cargo run --release -p gazal-tasks --example coverage
//! ```
//! Simulated with a fixed seed: one accuracy, and the difference of two models on the same questions, with 8, 30
//! and 200 clusters of one or five questions. In clusters of five half of the questions repeat the first one. Each
//! line has the shares of 2,000 experiments (standard error 0.5% at 95%) and the mean width in points.

#![allow(clippy::print_stdout)]

use std::error::Error;

use gazal_tasks::stats::{Bootstrap, Comparison, Interval, Score, Tails, Verdict, accuracy, wilson};

const RUNS: u64 = 2_000;

/// What is simulated.
#[derive(Clone, Copy)]
struct Design {
    clusters: usize,
    /// Questions a cluster.
    size: usize,
    /// The chances that a question is right for the left model alone, for the right one alone, and for both.
    chances: [f64; 3],
}

/// Uniform numbers.
struct Draws(u64);

impl Draws {
    /// SplitMix64.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Design {
    fn experiment(self, draws: &mut Draws) -> (Vec<Score>, Vec<Score>) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for cluster in 0..self.clusters {
            let first = self.question(draws);
            for question in 0..self.size {
                let own = if question == 0 || draws.next() < 0.5 { first } else { self.question(draws) };
                let score = |value: bool| Score {
                    id: format!("{cluster} {question}"),
                    cluster: cluster.to_string(),
                    value: f64::from(u8::from(value)),
                };
                left.push(score(own.0));
                right.push(score(own.1));
            }
        }
        (left, right)
    }

    fn question(self, draws: &mut Draws) -> (bool, bool) {
        let [left, right, both] = self.chances;
        match draws.next() {
            chance if chance < left => (true, false),
            chance if chance < left + right => (false, true),
            chance => (chance < left + right + both, chance < left + right + both),
        }
    }

    fn title(self) -> String {
        let [left, right, both] = self.chances.map(|chance| 100.0 * chance);
        format!("{} clusters of {}: left {:.0}%, right {:.0}%", self.clusters, self.size, left + both, right + both)
    }
}

/// Over all experiments.
#[derive(Default)]
struct Record {
    covered: u32,
    beside: u32,
    width: f64,
}

impl Record {
    fn add(&mut self, interval: Interval, truth: f64) {
        self.covered += u32::from(interval.low - 1e-12 <= truth && truth <= interval.high + 1e-12);
        self.beside += u32::from(!interval.contains(0.0));
        self.width += 100.0 * (interval.high - interval.low);
    }

    fn line(&self, name: &str, with_findings: bool) {
        let share = |count: u32| 100.0 * f64::from(count) / RUNS as f64;
        let findings = if with_findings { format!("{:7.1} without 0", share(self.beside)) } else { String::new() };
        println!("    {name:28} {:6.1} covered {:7.1} wide {findings}", share(self.covered), self.width / RUNS as f64);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    for clusters in [8, 30, 200] {
        for (size, chances) in [
            (1, [0.1, 0.1, 0.4]),
            (1, [0.1, 0.1, 0.7]),
            (1, [0.02, 0.02, 0.93]),
            (1, [0.05, 0.25, 0.45]),
            (5, [0.1, 0.1, 0.5]),
            (5, [0.05, 0.25, 0.45]),
        ] {
            let design = Design { clusters, size, chances };
            println!("{}", design.title());
            one_accuracy(design)?;
            difference(design)?;
        }
    }
    Ok(())
}

fn bootstrap(tails: Tails, seed: u64) -> Bootstrap {
    Bootstrap { resamples: 500, seed, tails, ..Bootstrap::default() }
}

fn one_accuracy(design: Design) -> Result<(), Box<dyn Error>> {
    let truth = design.chances[1] + design.chances[2];
    let mut records: [Record; 4] = Default::default();
    for run in 0..RUNS {
        let (_, scores) = design.experiment(&mut Draws(run << 20));
        let right = scores.iter().filter(|score| score.value == 1.0).count();
        let found = [
            bootstrap(Tails::Percentile, run).mean(&[&scores])?,
            bootstrap(Tails::Expanded, run).mean(&[&scores])?,
            wilson(right, scores.len()).ok_or("no scores")?,
            accuracy(&scores, 0.95)?.ok_or("scores that are neither 0 nor 1")?,
        ];
        records.iter_mut().zip(found).for_each(|(record, interval)| record.add(interval, truth));
    }
    println!("  one accuracy");
    let names = ["percentile bootstrap", "expanded bootstrap", "Wilson, without clusters", "accuracy (exact)"];
    names.iter().zip(&records).for_each(|(name, record)| record.line(name, false));
    Ok(())
}

fn difference(design: Design) -> Result<(), Box<dyn Error>> {
    let truth = design.chances[1] - design.chances[0];
    let mut records: [Record; 3] = Default::default();
    let mut verdicts = 0;
    for run in 0..RUNS {
        let (left, right) = design.experiment(&mut Draws(run << 20));
        let pair = [(&left[..], &right[..])];
        let compared = Comparison::of(&pair, &bootstrap(Tails::Expanded, run))?;
        verdicts += u32::from(compared.verdict(compared.test.p, 0.05) != Verdict::WithinNoise);
        let found = [
            bootstrap(Tails::Percentile, run).difference(&pair)?,
            bootstrap(Tails::Expanded, run).difference(&pair)?,
            compared.interval,
        ];
        records.iter_mut().zip(found).for_each(|(record, interval)| record.add(interval, truth));
    }
    println!("  difference of {:.0} points", 100.0 * truth);
    let names = ["percentile bootstrap", "expanded bootstrap", "comparison"];
    names.iter().zip(&records).for_each(|(name, record)| record.line(name, true));
    println!("    {:28} {:6.1} called a difference", "verdict", 100.0 * f64::from(verdicts) / RUNS as f64);
    Ok(())
}
