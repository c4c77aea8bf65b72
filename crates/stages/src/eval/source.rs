//! Benchmark files in a folder: our own item files, or the publishers' under their usual names.

use std::path::Path;

use gazal_stage_api::StageError;
use gazal_tasks::{BENCHMARKS, Benchmark, Item, find_file};

/// The benchmarks to score with their items: those named by `tasks`, or all that the folder holds.
///
/// # Errors
/// A named benchmark whose file is not there, a file in another layout, or a folder without any.
pub fn read(folder: &Path, tasks: &[String], limit: usize) -> Result<Vec<(&'static Benchmark, Vec<Item>)>, StageError> {
    let entries = std::fs::read_dir(folder).map_err(StageError::io(folder))?;
    let names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut sets = Vec::new();
    for benchmark in BENCHMARKS {
        let named = tasks.iter().any(|task| task == benchmark.name);
        if !named && !tasks.is_empty() {
            continue;
        }
        match find_file(benchmark, &names) {
            Some(name) => sets.push((benchmark, items(benchmark, &folder.join(name), limit)?)),
            None if named => {
                let files = benchmark.files.join(" or ");
                return Err(StageError::failed(format!(
                    "{} is not in {}: expected {files}",
                    benchmark.name,
                    folder.display()
                )));
            }
            None => {}
        }
    }
    if sets.is_empty() {
        return Err(StageError::failed(format!("{} holds no file of a known benchmark", folder.display())));
    }
    Ok(sets)
}

fn items(benchmark: &Benchmark, path: &Path, limit: usize) -> Result<Vec<Item>, StageError> {
    let text = std::fs::read_to_string(path).map_err(StageError::io(path))?;
    let failed = |error| StageError::failed(format!("{}: {error}", path.display()));
    let mut items = benchmark.read(&text).map_err(failed)?;
    if limit > 0 {
        items.truncate(limit);
    }
    Ok(items)
}
