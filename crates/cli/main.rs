//! The program: its allocator and its list of stage kinds, nothing else.

use std::process::ExitCode;

/// Training gives large blocks back and asks for them again; mimalloc keeps them instead of having the kernel clear
/// pages each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gazal_pipe::main_with(gazal_stages::kinds())
}
