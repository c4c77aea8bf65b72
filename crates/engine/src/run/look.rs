//! Looking at stages whose needs are done: a hit, ready, or held up by a failure, a condition or a gate.

use gazal_spec::Condition;

use super::Runner;
use crate::metrics::Metrics;
use crate::plan::{Found, lookup};
use crate::state::{Ready, State};
use crate::{EngineError, Outcome};

impl Runner<'_> {
    pub(super) fn look_at_due(&mut self) -> Result<(), EngineError> {
        while let Some(index) = self.due.pop_front() {
            if matches!(self.states[index], State::Waiting) && self.open[index] == 0 {
                self.look_at(index)?;
            }
        }
        Ok(())
    }

    /// Completes a stage's manifest: a hit is done, anything else is ready.
    fn look_at(&mut self, index: usize) -> Result<(), EngineError> {
        if let Some((outcome, why)) = self.held_up(index) {
            return self.finish(index, outcome, why);
        }
        if self.look.is_done(index) && self.look.made[index].is_some() && !self.forced[index] {
            return self.hit(index);
        }
        let Some(draft) = self.known().draft(index) else { return Ok(()) };
        let key = draft.manifest.key();
        self.look.keys[index] = Some(key);
        if !self.forced[index]
            && let Found::Hit(made) = lookup(&self.options.store, &key)?
        {
            self.look.made[index] = Some(made);
            return self.hit(index);
        }
        let ready = Ready { manifest: draft.manifest, tried: 0, after: None };
        self.set(index, State::Ready(Box::new(ready)));
        Ok(())
    }

    /// Why a stage whose needs are done does not run: one of them failed or was left out, its `when` does not hold, or a
    /// gate before it.
    fn held_up(&self, index: usize) -> Option<(Outcome, Option<String>)> {
        let needs = self.needs(index);
        let outcome = |from: &usize| match self.states[*from] {
            State::Done(outcome) if !outcome.is_success() => Some((*from, outcome)),
            _ => None,
        };
        let unmet: Vec<(usize, Outcome)> = needs.iter().filter_map(outcome).collect();
        let allowed = |from: usize| self.stage(from).policy.allow_failure;
        if unmet.iter().any(|&(from, outcome)| outcome != Outcome::Skipped && !allowed(from)) {
            return Some((Outcome::Blocked, None));
        }
        if let Some(&(from, outcome)) = unmet.first() {
            let why = if outcome == Outcome::Skipped { "is left out" } else { "failed, which is allowed" };
            return Some((Outcome::Skipped, Some(format!("`{}` {why}", self.stage(from).name))));
        }
        let stage = self.stage(index);
        let before = |condition: &&Condition| condition.stages().all(|judged| judged != index);
        let metrics = self.metrics();
        if let Some(why) = stage.when.iter().find_map(|condition| metrics.refusal(condition)) {
            return Some((Outcome::Skipped, Some(why)));
        }
        let gate = stage.gates.iter().filter(before).find_map(|condition| metrics.refusal(condition))?;
        Some((Outcome::Failed, Some(format!("gate: {gate}"))))
    }

    fn metrics(&self) -> Metrics<'_> {
        Metrics { store: &self.options.store, pipeline: self.pipeline, made: &self.look.made }
    }

    fn hit(&mut self, index: usize) -> Result<(), EngineError> {
        self.pass(index, Outcome::Hit)
    }

    /// A stage has its result; the gates on what it has measured decide whether that will do.
    pub(super) fn pass(&mut self, index: usize, outcome: Outcome) -> Result<(), EngineError> {
        let own = |condition: &&Condition| condition.stages().any(|judged| judged == index);
        let metrics = self.metrics();
        let refusal = self.stage(index).gates.iter().filter(own).find_map(|condition| metrics.refusal(condition));
        match refusal {
            Some(why) => self.finish(index, Outcome::Failed, Some(format!("gate: {why}"))),
            None => self.finish(index, outcome, None),
        }
    }
}
