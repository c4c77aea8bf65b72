//! Sets of small labelled images in the binary layout of CIFAR-10 (<https://www.cs.toronto.edu/~kriz/cifar.html>): of
//! each image a byte with its class, then its pixels by channel and row. Images to train on are in
//! `data_batch_*.bin`, those to test on in `test_batch.bin`.

use std::fs;
use std::path::{Path, PathBuf};

use gazal_stage_api::StageError;

use super::raw::{Description, FILE};

pub const TEST: &str = "test_batch.bin";
pub const TRAIN: &str = "data_batch_1.bin";

/// Images of one part of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    pub description: Description,
    labels: Vec<u8>,
    pixels: Vec<u8>,
}

impl Images {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    /// The pixels of an image, `[channels, height, width]`.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let size = self.description.pixels();
        &self.pixels[index * size..][..size]
    }
}

/// The images to train on and those to test on.
///
/// # Errors
/// Files that are missing, or not in this layout.
pub fn read(folder: &Path) -> Result<(Images, Images), StageError> {
    let description = describe(folder)?;
    let train = batches(folder)?;
    if train.is_empty() {
        return Err(StageError::failed(format!(
            "{}: there is no `data_batch_*.bin`: connect the folder that holds CIFAR-10's binary files (version for C \
             programs), or the output of `digits`",
            folder.display()
        )));
    }
    let test = folder.join(TEST);
    Ok((parse(&train, &description)?, parse(&[test], &description)?))
}

fn describe(folder: &Path) -> Result<Description, StageError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(Description::cifar10());
    }
    let text = fs::read_to_string(&path).map_err(StageError::io(&path))?;
    let description: Description = serde_json::from_str(&text).map_err(|error| wrong(&path, error))?;
    match description.pixels() > 0 && description.classes > 0 && description.highest > 0 {
        true => Ok(description),
        false => Err(wrong(&path, "sizes, classes and the highest number must be above 0")),
    }
}

/// In the order of their names.
fn batches(folder: &Path) -> Result<Vec<PathBuf>, StageError> {
    let entries = fs::read_dir(folder).map_err(StageError::io(folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StageError::io(folder))?;
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("data_batch_") && name.ends_with(".bin")
    });
    paths.sort();
    Ok(paths)
}

fn parse(paths: &[PathBuf], description: &Description) -> Result<Images, StageError> {
    let mut images = Images { description: description.clone(), labels: Vec::new(), pixels: Vec::new() };
    let size = 1 + description.pixels();
    for path in paths {
        let bytes = fs::read(path).map_err(StageError::io(path))?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
            return Err(wrong(path, format!("has {} bytes, which are not records of {size}", bytes.len())));
        }
        for (index, record) in bytes.chunks_exact(size).enumerate() {
            let (&label, pixels) = record.split_first().unwrap_or((&0, &[]));
            let brightest = pixels.iter().copied().max().unwrap_or_default();
            if usize::from(label) >= description.classes || brightest > description.highest {
                let message = format!(
                    "record {} has class {label} and a pixel of {brightest}; there are {} classes and pixels up to {}",
                    index + 1,
                    description.classes,
                    description.highest
                );
                return Err(wrong(path, message));
            }
            images.labels.push(label);
            images.pixels.extend_from_slice(pixels);
        }
    }
    Ok(images)
}

fn wrong(path: &Path, message: impl std::fmt::Display) -> StageError {
    StageError::failed(format!("{}: {message}", path.display()))
}
