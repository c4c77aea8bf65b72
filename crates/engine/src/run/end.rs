//! Hearing workers, and what becomes of a stage when its worker has said its last word.

use std::time::{Duration, Instant};

use gazal_stage_api::{Event, Level};
use gazal_store::{Digest, Made};

use super::Runner;
use crate::state::{End, Ready, State};
use crate::{EngineError, Outcome, Report, RunEvent, Said, Stop};

/// The longest pause before a retry.
const LONGEST: Duration = Duration::from_secs(600);

impl Runner<'_> {
    pub(super) fn hear(&mut self, index: usize, report: Report) -> Result<(), EngineError> {
        match report {
            Report::Said(Said::Event(event)) => self.pass_on(index, event),
            Report::Said(Said::Waiting) => {
                let text = "waits for another run that is at it".to_string();
                self.pass_on(index, Event::Message { level: Level::Info, text })
            }
            Report::Said(last) => {
                if let State::Running(running) = &mut self.states[index] {
                    running.last = Some(last);
                }
                Ok(())
            }
            Report::Ended => self.conclude(index),
        }
    }

    fn pass_on(&mut self, index: usize, event: Event) -> Result<(), EngineError> {
        let name = self.stage(index).name.clone();
        self.tell(&match event {
            Event::Progress { done, total, unit, metrics } => RunEvent::Progress { name, done, total, unit, metrics },
            Event::Message { level, text } => RunEvent::Message { name, level, text },
        })
    }

    /// A worker has ended with an action: what were its last words?
    fn conclude(&mut self, index: usize) -> Result<(), EngineError> {
        let stopped = self.options.cancel.level() != Stop::No;
        let State::Running(running) = &mut self.states[index] else { return Ok(()) };
        let status = running.job.reap();
        let key = running.manifest.key();
        match running.last.take() {
            Some(Said::Ran) => self.made(index, &key, Outcome::Ran),
            Some(Said::Found) => self.made(index, &key, Outcome::Hit),
            Some(Said::Failed(message)) => self.fail(index, message),
            Some(Said::Unusable(message)) => Err(EngineError::Unusable(message)),
            Some(Said::Damaged(artifact)) => self.mend(index, artifact),
            _ if running.end > End::Open && stopped => self.finish(index, Outcome::Interrupted, None),
            _ if running.end > End::Open => self.fail(index, self.overdue(index)),
            Some(_) => self.finish(index, Outcome::Interrupted, None),
            None => self.fail(index, format!("its worker died ({status}); see its log")),
        }
    }

    fn overdue(&self, index: usize) -> String {
        let seconds = self.stage(index).policy.timeout.unwrap_or_default().as_secs_f64();
        format!("it took longer than its `timeout` ({seconds} s): raise that; what it had written for a resume is kept")
    }

    /// Tries a stage again, or takes its failure for the last.
    fn fail(&mut self, index: usize, error: String) -> Result<(), EngineError> {
        let policy = &self.stage(index).policy;
        let State::Running(running) = &self.states[index] else { return Ok(()) };
        if running.tried >= policy.retries || !self.may_start() {
            return self.finish(index, Outcome::Failed, Some(error));
        }
        let tried = running.tried + 1;
        let pause = policy.backoff.saturating_mul(1 << (tried - 1).min(16)).min(LONGEST);
        let ready = Ready { manifest: running.manifest.clone(), tried, after: Some(Instant::now() + pause) };
        let (name, of) = (self.stage(index).name.clone(), policy.retries + 1);
        self.set(index, State::Ready(Box::new(ready)));
        self.tell(&RunEvent::Retry { name, error, attempt: tried + 1, of, pause: pause.as_secs_f64() })
    }

    fn made(&mut self, index: usize, key: &Digest, outcome: Outcome) -> Result<(), EngineError> {
        let Some(made) = self.options.store.made(key)? else {
            return self.fail(index, "its result vanished from the store".into());
        };
        self.look.made[index] = Some(made);
        self.forced[index] = false;
        let deep = self.deep.get_or_init(|| self.look.known(self.pipeline).deep_keys())[index];
        if let Some(deep) = deep {
            self.options.store.publish_deep(&deep, key)?;
            if let Err(error) = self.options.store.push_deep(&deep) {
                let text = format!("its deep key was not sent to the remote: {error}");
                self.pass_on(index, Event::Message { level: Level::Warning, text })?;
            }
        }
        self.pass(index, outcome)
    }

    /// A worker found an input damaged: whoever made it makes it again, whatever the store or its remote says of it.
    fn mend(&mut self, index: usize, artifact: Digest) -> Result<(), EngineError> {
        let holds = |made: &Made| made.outputs.iter().any(|(_, output)| output.artifact.bytes == artifact);
        let maker = self.needs(index).into_iter().find(|&from| self.look.made[from].as_ref().is_some_and(holds));
        let Some(maker) = maker else {
            return self.finish(index, Outcome::Failed, Some(format!("an input ({artifact}) is damaged")));
        };
        self.forced[maker] = true;
        self.wait_again(index, maker)
    }

    /// The bytes of an input are gone: the stage waits until they are made again; a second time is a failure.
    pub(super) fn wait_again(&mut self, index: usize, maker: usize) -> Result<(), EngineError> {
        let name = &self.stage(maker).name;
        if !self.mended.insert((index, maker)) {
            return self.finish(index, Outcome::Failed, Some(format!("what `{name}` made is damaged again and again")));
        }
        let text = format!("the bytes of an input are gone: `{name}` runs again");
        self.pass_on(index, Event::Message { level: Level::Warning, text })?;
        self.set(index, State::Waiting);
        if let State::Done(outcome) = self.states[maker] {
            *self.summary.number(outcome) -= 1;
            self.reopen(maker);
        } else if !self.readers[maker].contains(&index) {
            self.wait_for(index, maker);
        }
        Ok(())
    }

    /// A stage that was done waits again, and everybody that still needs it waits for it.
    fn reopen(&mut self, maker: usize) {
        self.look.made[maker] = None;
        self.set(maker, State::Waiting);
        for reader in self.options.selected.clone() {
            if matches!(self.states[reader], State::Waiting) && self.needs(reader).contains(&maker) {
                self.wait_for(reader, maker);
            }
        }
        self.due.push_back(maker);
    }

    pub(super) fn wait_for(&mut self, reader: usize, maker: usize) {
        self.open[reader] += 1;
        self.readers[maker].push(reader);
    }
}
