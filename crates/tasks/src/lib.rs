//! Problems with a checkable answer: benchmarks and their readers, the answer in a generated text, rewards,
//! the statistics that a report needs, the search for leaks between training data and benchmarks, and the symmetry
//! study but for its networks.
//!
//! Everything here works on strings, numbers and JSON values; files, tensors and tokens are elsewhere.

pub mod attempts;
pub mod benchmarks;
pub mod contamination;
mod extract;
#[cfg(test)]
mod fixture;
mod item;
pub mod numpy;
pub mod published;
mod read;
pub mod rewards;
pub mod scoring;
pub mod stats;
pub mod symmetry;
pub mod training;
mod words;

pub use benchmarks::{BENCHMARKS, Benchmark, Prompt, find_file};
pub use extract::{Extraction, ExtractionRule, answer_part, extract};
pub use item::Item;
pub use read::{ReadError, read_items};
pub use rewards::{Completion, Pattern, Reward, RewardFunc};
pub use words::words;
