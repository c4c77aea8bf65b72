//! Checkpoints inside a stage: parameters, optimizer state and a few numbers, written so that a kill at any moment
//! leaves the last complete one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gazal_lm::weights::{self, FileWriter, Precision, Weights};
use gazal_lm::{Decoder, LmError, Trainable};
use serde_json::Value;

use crate::Optimizer;

/// The file of what trains.
const PARAMETERS: &str = "parameters.safetensors";

/// The file of a reference policy.
const REFERENCE: &str = "reference.safetensors";

/// A complete checkpoint on disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Optimizer steps done.
    pub step: u64,
    /// What the stage keeps beside the tensors (its history so far).
    pub extra: Value,
    folder: PathBuf,
}

impl Checkpoint {
    /// Puts the saved parameters and optimizer state in place.
    ///
    /// # Errors
    /// When a file or a tensor is missing.
    pub fn restore(
        &self,
        decoder: &mut Decoder,
        trainable: Trainable,
        optimizer: &mut Optimizer,
    ) -> Result<(), LmError> {
        let device = decoder.device();
        load_parameters(&self.folder.join(PARAMETERS), decoder, trainable)?;
        self.restore_optimizer(optimizer, &device)
    }

    /// Puts the optimizer state in place and gives the vectors that [`save_vectors`] saved, by name.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn restore_vectors(
        &self,
        optimizer: &mut Optimizer,
        device: &Device,
    ) -> Result<BTreeMap<String, Vec<f32>>, LmError> {
        self.restore_optimizer(optimizer, device)?;
        read_all(&self.folder.join(PARAMETERS))
    }

    fn restore_optimizer(&self, optimizer: &mut Optimizer, device: &Device) -> Result<(), LmError> {
        let tensors = read_all(&self.folder.join("optimizer.safetensors"))?;
        optimizer.restore(i32::try_from(self.step).unwrap_or(i32::MAX), &tensors, device);
        Ok(())
    }

    /// Puts the saved reference policy in place.
    ///
    /// # Errors
    /// When there is none in this checkpoint, or a tensor is missing.
    pub fn restore_reference(&self, reference: &mut Decoder, trainable: Trainable) -> Result<(), LmError> {
        load_parameters(&self.folder.join(REFERENCE), reference, trainable)
    }
}

/// What a checkpoint holds.
pub struct Snapshot<'a> {
    pub decoder: &'a Decoder,
    pub trainable: Trainable,
    pub optimizer: &'a Optimizer,
    /// A reference policy that moves too, and so must be kept.
    pub reference: Option<&'a Decoder>,
    /// What the stage keeps beside the tensors.
    pub extra: &'a Value,
}

/// Writes `wip/checkpoint-STEP`: into a temporary folder, every file synced, then renamed. Older ones are removed,
/// `keep` of them stay.
///
/// # Errors
/// When a file cannot be written.
pub fn save_checkpoint(wip: &Path, snapshot: &Snapshot, keep: usize) -> Result<(), LmError> {
    write_checkpoint(wip, (snapshot.optimizer, snapshot.extra), keep, |folder| {
        save_parameters(&folder.join(PARAMETERS), snapshot.decoder, snapshot.trainable)?;
        match snapshot.reference {
            Some(reference) => save_parameters(&folder.join(REFERENCE), reference, snapshot.trainable),
            None => Ok(()),
        }
    })
}

/// The same of vectors that are no decoder's, such as those of a small network.
///
/// # Errors
/// When a file cannot be written.
pub fn save_vectors(
    wip: &Path,
    vectors: &[weights::Named],
    (optimizer, extra): (&Optimizer, &Value),
    keep: usize,
) -> Result<(), LmError> {
    write_checkpoint(wip, (optimizer, extra), keep, |folder| {
        let path = folder.join(PARAMETERS);
        weights::save(&path, vectors)?;
        sync(&path)
    })
}

fn write_checkpoint(
    wip: &Path,
    (optimizer, extra): (&Optimizer, &Value),
    keep: usize,
    save_parameters: impl FnOnce(&Path) -> Result<(), LmError>,
) -> Result<(), LmError> {
    let (step, moments) = optimizer.state();
    let temporary = wip.join("checkpoint.tmp");
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(LmError::io(&temporary))?;
    }
    fs::create_dir_all(&temporary).map_err(LmError::io(&temporary))?;
    save_parameters(&temporary)?;
    weights::save(&temporary.join("optimizer.safetensors"), &moments)?;
    let state = temporary.join("state.json");
    let text = serde_json::json!({ "step": step, "extra": extra }).to_string();
    fs::write(&state, text).map_err(LmError::io(&state))?;
    for name in ["optimizer.safetensors", "state.json"] {
        sync(&temporary.join(name))?;
    }
    sync(&temporary)?;
    let target = wip.join(format!("checkpoint-{step}"));
    if target.exists() {
        fs::remove_dir_all(&target).map_err(LmError::io(&target))?;
    }
    fs::rename(&temporary, &target).map_err(LmError::io(&target))?;
    sync(wip)?;
    for old in steps(wip).into_iter().rev().skip(keep.max(1)) {
        let folder = wip.join(format!("checkpoint-{old}"));
        fs::remove_dir_all(&folder).map_err(LmError::io(&folder))?;
    }
    Ok(())
}

/// Writes what is trainable in `decoder` to one file, synced, replacing it whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn save_parameters(path: &Path, decoder: &Decoder, trainable: Trainable) -> Result<(), LmError> {
    let (mut decoder, mut plan) = (decoder.clone(), Vec::new());
    decoder.visit_trainable(trainable, &mut |name, slot| plan.push((name.to_string(), slot.shape())));
    let temporary = path.with_extension("tmp");
    let mut writer = FileWriter::create(&temporary, &plan, Precision::F32)?;
    let mut outcome = Ok(());
    decoder.visit_trainable(trainable, &mut |name, slot| {
        if outcome.is_ok() {
            outcome = writer.write(name, &weights::to_host(slot.flat().inner()));
        }
    });
    outcome?;
    writer.finish()?;
    sync(&temporary)?;
    fs::rename(&temporary, path).map_err(LmError::io(path))
}

/// Reads what [`save_parameters`] wrote into `decoder`.
///
/// # Errors
/// When a tensor is missing or has another size.
pub fn load_parameters(path: &Path, decoder: &mut Decoder, trainable: Trainable) -> Result<(), LmError> {
    let device = decoder.device();
    let mut saved = Weights::load(path)?;
    let mut missing = None;
    decoder.visit_trainable(trainable, &mut |name, mut slot| {
        let count: usize = slot.shape().iter().product();
        match saved.take_flat(name, count, &device) {
            Ok(values) => slot.set_flat(values),
            Err(error) => missing = Some(error),
        }
    });
    decoder.refresh_norms();
    missing.map_or(Ok(()), Err)
}

fn read_all(path: &Path) -> Result<BTreeMap<String, Vec<f32>>, LmError> {
    let saved = Weights::load(path)?;
    saved.names().map(|name| Ok((name.to_string(), saved.read(name)?))).collect()
}

fn sync(path: &Path) -> Result<(), LmError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(LmError::io(path))
}

/// Steps of the complete checkpoints, ascending.
fn steps(wip: &Path) -> Vec<u64> {
    let entries = fs::read_dir(wip).into_iter().flatten().flatten();
    let mut steps: Vec<u64> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

/// The newest complete checkpoint in `wip`, if there is one.
///
/// # Errors
/// When its state cannot be read.
pub fn latest_checkpoint(wip: &Path) -> Result<Option<Checkpoint>, LmError> {
    let Some(step) = steps(wip).pop() else { return Ok(None) };
    let folder = wip.join(format!("checkpoint-{step}"));
    let path = folder.join("state.json");
    let text = fs::read_to_string(&path).map_err(LmError::io(&path))?;
    let mut state: Value = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
    Ok(Some(Checkpoint { step, extra: state["extra"].take(), folder }))
}
