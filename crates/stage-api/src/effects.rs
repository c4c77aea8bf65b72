//! What a stage may do beside reading its inputs and writing its outputs, where its kind declares it in its traits.
//!
//! A stage asks for it through its context and never reaches for it itself: so tests can see what it does, and
//! whoever runs it can keep answers, end programs and know which secrets were read.

use std::path::PathBuf;

use crate::StageError;

/// Who carries out the effects of a stage.
pub trait Effects: Sync {
    /// The answer that was kept for a question.
    ///
    /// # Errors
    /// When it cannot be looked for.
    fn recall(&self, namespace: &str, question: &[u8]) -> Result<Option<Vec<u8>>, StageError>;

    /// Keeps an answer, in the place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn keep(&self, namespace: &str, question: &[u8], answer: &[u8]) -> Result<(), StageError>;

    /// See [`crate::Context::run_program`].
    ///
    /// # Errors
    /// As there.
    fn run_program(&self, program: &Program, cancelled: &dyn Fn() -> bool) -> Result<Vec<u8>, StageError>;

    /// See [`crate::Context::secret`].
    ///
    /// # Errors
    /// As there.
    fn secret(&self, variable: &str) -> Result<String, StageError>;
}

/// Kept answers of one namespace; threads may share it.
#[derive(Clone)]
pub struct Memo<'a> {
    effects: &'a dyn Effects,
    namespace: String,
}

impl<'a> Memo<'a> {
    pub(crate) fn new(effects: &'a dyn Effects, namespace: &str) -> Memo<'a> {
        Memo { effects, namespace: namespace.into() }
    }

    /// The answer that was kept for a question: all bytes of the question count.
    ///
    /// # Errors
    /// When it cannot be looked for.
    pub fn get(&self, question: &[u8]) -> Result<Option<Vec<u8>>, StageError> {
        self.effects.recall(&self.namespace, question)
    }

    /// Keeps an answer at once, in the place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn put(&self, question: &[u8], answer: &[u8]) -> Result<(), StageError> {
        self.effects.keep(&self.namespace, question, answer)
    }
}

/// A program to run, with all that it sees.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// It runs in there.
    pub folder: PathBuf,
    /// Names of environment variables that it may see besides `PATH`.
    pub env: Vec<String>,
    /// Its standard input.
    pub input: Vec<u8>,
    /// Seconds after which it has failed.
    pub seconds: f64,
}
