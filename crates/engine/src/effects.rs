//! What a stage may do beside its folders, carried out: the memo is the store's, programs are run here, secrets are
//! read from this process's environment. A kind gets what its traits declare and nothing else.

use gazal_stage_api::{Effects, Program, StageError, Traits};
use gazal_store::{Digest, Store};

use crate::program;

/// The effects of one action.
pub(crate) struct Declared<'a> {
    pub store: &'a Store,
    pub traits: Traits,
}

fn allowed(declared: bool, what: &'static str) -> Result<(), StageError> {
    if declared { Ok(()) } else { Err(StageError::Undeclared(what)) }
}

impl Effects for Declared<'_> {
    fn recall(&self, namespace: &str, question: &[u8]) -> Result<Option<Vec<u8>>, StageError> {
        allowed(self.traits.memo, "memo")?;
        self.store.memo_get(namespace, &Digest::of(question)).map_err(StageError::failed)
    }

    fn keep(&self, namespace: &str, question: &[u8], answer: &[u8]) -> Result<(), StageError> {
        allowed(self.traits.memo, "memo")?;
        self.store.memo_put(namespace, &Digest::of(question), answer).map_err(StageError::failed)
    }

    fn run_program(&self, program: &Program, cancelled: &dyn Fn() -> bool) -> Result<Vec<u8>, StageError> {
        allowed(self.traits.programs, "programs")?;
        let scratch = self.store.scratch().map_err(StageError::failed)?;
        program::run(program, scratch.path(), cancelled)
    }

    fn secret(&self, variable: &str) -> Result<String, StageError> {
        allowed(self.traits.secrets, "secrets")?;
        let value = std::env::var(variable).ok().filter(|value| !value.trim().is_empty());
        let value = value.ok_or_else(|| StageError::failed(format!("${variable} is not set: set it to the secret")))?;
        Ok(value.trim().to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_kind_does_not_declare_it_does_not_get() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let none = Declared { store: &store, traits: Traits::PLAIN };
        let program = Program { command: vec!["true".into()], ..Program::default() };
        let refused = [
            none.recall("judge", b"q").unwrap_err(),
            none.keep("judge", b"q", b"a").unwrap_err(),
            none.run_program(&program, &|| false).unwrap_err(),
            none.secret("PATH").unwrap_err(),
        ];
        assert!(refused.iter().all(|error| matches!(error, StageError::Undeclared(_))), "{refused:?}");
    }

    #[test]
    fn the_memo_outlives_who_asked() {
        let dir = tempfile::tempdir().unwrap();
        let traits = Traits { memo: true, secrets: true, ..Traits::PLAIN };
        let store = Store::open(dir.path()).unwrap();
        let first = Declared { store: &store, traits };
        assert_eq!(first.recall("judge", b"question").unwrap(), None);
        first.keep("judge", b"question", b"answer").unwrap();
        let again = Store::open(dir.path()).unwrap();
        let second = Declared { store: &again, traits };
        assert_eq!(second.recall("judge", b"question").unwrap().unwrap(), b"answer");
        assert_eq!(second.recall("teacher", b"question").unwrap(), None);
        let unset = second.secret("GAZAL_NO_SUCH_SECRET").unwrap_err().to_string();
        assert!(unset.contains("$GAZAL_NO_SUCH_SECRET is not set"), "{unset}");
    }
}
