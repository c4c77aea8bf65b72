//! How a person stops a run: asked once, stages write a checkpoint; asked twice, they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How much a run has been asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    No,
    /// Start nothing more; running stages write a checkpoint and return.
    Checkpoint,
    /// End the workers.
    Now,
}

/// Shared between whoever hears the person and the run.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    /// One step further: first checkpoint, then end.
    pub fn raise(&self) {
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |level| (level < 2).then_some(level + 1));
    }

    pub fn level(&self) -> Stop {
        match self.0.load(Ordering::SeqCst) {
            0 => Stop::No,
            1 => Stop::Checkpoint,
            _ => Stop::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_two_levels_and_stays_at_the_second() {
        let token = CancelToken::default();
        let seen: Vec<Stop> = (0..4)
            .map(|_| {
                let level = token.level();
                token.raise();
                level
            })
            .collect();
        assert_eq!(seen, [Stop::No, Stop::Checkpoint, Stop::Now, Stop::Now]);
    }
}
