//! Data synthesis from the embedded knowledge base: the stand-in for a teacher model on a machine with neither
//! network nor GPU.

mod benchmarks;
mod chinese;
mod corpus;
mod exercises;
mod knowledge;
mod language;
mod open;
mod problems;
mod run;
mod source;
#[cfg(test)]
mod tests;
mod wording;

pub use benchmarks::Benchmarks;
pub use open::OpenQuestions;
pub use run::Synth;
pub use source::Knowledge;
pub use wording::template_words;
