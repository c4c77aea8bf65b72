//! `digits`: handwritten digits that the program carries, as files that `train-classifier` reads; see `digits.md`.

use std::fs;

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use serde::{Deserialize, Serialize};

use super::images::{TEST, TRAIN};
use super::raw::{Description, FILE};
use crate::embedded;

const DIGITS: &[u8] = include_bytes!("digits.csv.gz");
const ABOUT: &str = include_str!("digits.md");

const SIDE: usize = 8;
const IMAGES: usize = 1797;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Images to test on: the last of the set in its own order.
    #[serde(default = "test_size")]
    pub test_size: usize,
}

fn test_size() -> usize {
    360
}

pub struct Digits;

impl Kind for Digits {
    type Params = Params;
    const NAME: &'static str = "digits";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Writes the 1,797 handwritten digits (8×8) of the UCI repository.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("dataset", PortType::Files, "images in CIFAR-10's layout, and what they are")]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let holds = (1..IMAGES).contains(&params.test_size);
        (!holds)
            .then(|| Problem::new("test_size", format!("must be between 1 and {}", IMAGES - 1)))
            .into_iter()
            .collect()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let records = records()?;
        let (train, test) = records.split_at(records.len().saturating_sub(params.test_size));
        let description =
            Description { name: "digits".into(), channels: 1, height: SIDE, width: SIDE, classes: 10, highest: 16 };
        let description = serde_json::to_string_pretty(&description).map_err(StageError::failed)? + "\n";
        let folder = context.output("dataset")?;
        let files = [
            (TRAIN, train.concat()),
            (TEST, test.concat()),
            (FILE, description.into_bytes()),
            ("README.md", ABOUT.as_bytes().to_vec()),
        ];
        files.into_iter().try_for_each(|(name, bytes)| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(StageError::io(&path))
        })
    }
}

/// Every image as its class and its pixels.
fn records() -> Result<Vec<Vec<u8>>, StageError> {
    let text = embedded::text(DIGITS)?;
    let record = |line: &str| {
        let mut numbers =
            line.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>().map_err(StageError::failed)?;
        // The class comes last.
        numbers.rotate_right(1);
        Ok(numbers)
    };
    text.lines().map(record).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What scikit-learn's `load_digits` has.
    #[test]
    fn all_images_are_there() {
        let records = records().unwrap();
        assert_eq!(records.len(), IMAGES);
        assert!(records.iter().all(|record| record.len() == 1 + SIDE * SIDE && record[0] < 10));
        assert!(records.iter().all(|record| record[1..].iter().all(|&pixel| pixel <= 16)));
        let of = |class: u8| records.iter().filter(|record| record[0] == class).count();
        let counts: Vec<usize> = (0..10).map(of).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(records[0][..9], [0, 0, 0, 5, 13, 9, 1, 0, 0]);
    }
}
