//! Rows of one form in another, and how fast and in how much memory: `convert FROM TO`.
//!
//! FROM is JSON Lines, CSV (both may be compressed) or Parquet, TO any of them that is not compressed, by their names.
//! Prints the rows, the seconds and the most that the process had resident (`VmHWM`).
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use gazal_data::Row;
use gazal_data::rows::{Writer, read};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else { return Err("which file, and to which?".into()) };
    let start = Instant::now();
    let mut out = Writer::create(Path::new(to))?;
    for row in read::<Row>(Path::new(from))? {
        out.write(&row?)?;
    }
    let rows = out.finish()?;
    println!("{rows} rows, {:.1} s, {} at most", start.elapsed().as_secs_f64(), resident_at_most()?);
    Ok(())
}

fn resident_at_most() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().to_string())
}
