//! Our statistics for whom compares them with others' (`tests/bench/stats`): a JSON list of cases on standard input,
//! each a function's name and its numbers; a JSON list of results on standard output.

#![allow(clippy::print_stdout)]

use std::error::Error;

use gazal_tasks::attempts::{maj_at_k, pass_at_k};
use gazal_tasks::stats::{
    Bootstrap, Comparison, Score, SignFlip, Tails, accuracy, benjamini_hochberg, bonferroni, clopper_pearson, holm,
    paired_resolution, single_resolution, wilson,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
enum Case {
    Wilson { successes: usize, trials: usize },
    ClopperPearson { successes: usize, trials: usize },
    Accuracy { values: Vec<f64>, clusters: Vec<u64> },
    SignFlip { differences: Vec<f64> },
    Comparison { left: Vec<f64>, right: Vec<f64>, clusters: Vec<u64> },
    Percentiles { values: Vec<f64> },
    Bonferroni { p: Vec<f64> },
    Holm { p: Vec<f64> },
    BenjaminiHochberg { p: Vec<f64> },
    PairedResolution { n: usize, discordance: f64 },
    SingleResolution { n: usize, known: f64 },
    PassAtK { n: usize, right: usize, k: usize },
    MajAtK { answers: Vec<Option<usize>>, right: usize, k: usize },
}

fn main() -> Result<(), Box<dyn Error>> {
    let cases: Vec<Case> = serde_json::from_reader(std::io::stdin())?;
    let results = cases.iter().map(result).collect::<Result<Vec<Value>, _>>()?;
    println!("{}", json!(results));
    Ok(())
}

fn result(case: &Case) -> Result<Value, Box<dyn Error>> {
    Ok(match case {
        Case::Wilson { successes, trials } => json!(wilson(*successes, *trials).map(|found| [found.low, found.high])),
        Case::ClopperPearson { successes, trials } => {
            json!(clopper_pearson(*successes, *trials, 0.95).map(|found| [found.low, found.high]))
        }
        Case::Accuracy { values, clusters } => {
            json!(accuracy(&scores(values, clusters), 0.95)?.map(|found| [found.low, found.high]))
        }
        Case::SignFlip { differences } => json!(SignFlip::of(differences, 100_000, 0).p),
        Case::Comparison { left, right, clusters } => {
            let [left, right] = [left, right].map(|values| scores(values, clusters));
            let found = Comparison::of(&[(&left, &right)], &Bootstrap::default())?;
            json!([found.interval.mean, found.interval.low, found.interval.high, found.test.p, found.resolution])
        }
        Case::Percentiles { values } => {
            let clusters: Vec<u64> = (0..values.len() as u64).collect();
            let bootstrap = Bootstrap { resamples: 100_000, tails: Tails::Percentile, ..Bootstrap::default() };
            let found = bootstrap.mean(&[&scores(values, &clusters)])?;
            json!([found.low, found.high])
        }
        Case::Bonferroni { p } => json!(bonferroni(p)),
        Case::Holm { p } => json!(holm(p)),
        Case::BenjaminiHochberg { p } => json!(benjamini_hochberg(p)),
        Case::PairedResolution { n, discordance } => json!(paired_resolution(*n, *discordance)),
        Case::SingleResolution { n, known } => json!(single_resolution(*n, *known)),
        Case::PassAtK { n, right, k } => json!(pass_at_k(*n, *right, *k)),
        Case::MajAtK { answers, right, k } => json!(maj_at_k(answers, *right, *k)),
    })
}

fn scores(values: &[f64], clusters: &[u64]) -> Vec<Score> {
    let scored = values.iter().zip(clusters).enumerate();
    scored.map(|(id, (&value, cluster))| Score { id: id.to_string(), cluster: cluster.to_string(), value }).collect()
}
