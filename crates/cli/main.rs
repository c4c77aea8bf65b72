//! The program: its allocator and its list of stage kinds, nothing else.

use std::process::ExitCode;
use std::time::Duration;

/// Training gives large blocks back and asks for them again; mimalloc keeps them instead of having the kernel clear
/// pages each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than a step of training, so that the next one finds its memory; what nobody asks for again goes back after it.
const KEPT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    gazal_kernels::keep_memory(KEPT);
    gazal_pipe::main_with(gazal_stages::kinds())
}
