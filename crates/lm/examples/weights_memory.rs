//! How much memory loading a checkpoint takes beyond its tensors: `weights_memory [MIB]`.
//!
//! Writes a checkpoint of so many mebibytes (1024 without an argument) in shards, loads all of its tensors on the CPU,
//! and prints how much the process had resident at most in between (`VmHWM`), with the time that loading took. Once
//! as it is, in float32, and once from bfloat16 to bfloat16.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::time::Instant;

use burn::tensor::Device;
use gazal_lm::weights::{ModelWriter, Precision, Weights};

/// Rows and columns of a tensor: 16 Mi numbers.
const SHAPE: [usize; 2] = [4096, 4096];

fn main() -> Result<(), Box<dyn Error>> {
    let mebibytes: usize = std::env::args().nth(1).map_or(Ok(1024), |text| text.parse())?;
    for precision in [Precision::Bf16, Precision::F32] {
        let tensors = (mebibytes << 20) / (SHAPE[0] * SHAPE[1] * precision.size());
        let folder = tempfile::tempdir_in(".")?;
        write(folder.path(), tensors, precision)?;
        let before = resident_at_most()?;
        let start = Instant::now();
        let loaded = load(folder.path(), precision)?;
        println!(
            "{}: {tensors} tensors of {} MiB: {:.2} s, {before} MiB at most before, {} MiB at most after",
            precision.name(),
            (SHAPE[0] * SHAPE[1] * precision.size()) >> 20,
            start.elapsed().as_secs_f64(),
            resident_at_most()?,
        );
        drop(loaded);
    }
    Ok(())
}

fn name(tensor: usize) -> String {
    format!("model.layers.{tensor}.weight")
}

fn write(folder: &std::path::Path, tensors: usize, precision: Precision) -> Result<(), Box<dyn Error>> {
    let plan: Vec<_> = (0..tensors).map(|tensor| (name(tensor), SHAPE.to_vec())).collect();
    let mut writer = ModelWriter::create(folder, &plan, precision, 300_000_000)?;
    for tensor in 0..tensors {
        writer.write(&name(tensor), &vec![tensor as f32; SHAPE[0] * SHAPE[1]])?;
    }
    Ok(writer.finish()?)
}

fn load(folder: &std::path::Path, precision: Precision) -> Result<Vec<burn::tensor::Tensor<2>>, Box<dyn Error>> {
    let mut weights = Weights::load_model(folder)?;
    let names: Vec<String> = weights.names().map(str::to_string).collect();
    let loaded =
        names.iter().map(|name| weights.take_in(precision, name, SHAPE, &Device::flex())).collect::<Result<_, _>>()?;
    weights.finish()?;
    Ok(loaded)
}

/// The process's peak of resident memory so far, in MiB.
fn resident_at_most() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? / 1024)
}
