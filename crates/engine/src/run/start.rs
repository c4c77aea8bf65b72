//! Starting what is ready.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Runner;
use super::obstacles::{is_local, obstacle};
use crate::record::log_path;
use crate::resources::{Claim, Demand};
use crate::state::{End, Running, State};
use crate::{Cause, EngineError, Job, Launch, Outcome, Request, RunEvent, Sink};

/// A stage that is about to start.
struct Start {
    index: usize,
    request: Request,
    claim: Claim,
    tried: u32,
}

impl Runner<'_> {
    /// Starts what is ready: jobs of a cluster all at once, processes while this machine has something left.
    pub(super) fn start_ready(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        let mut jobs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in self.ready.clone() {
            let stage = self.stage(index);
            let full = is_local(stage) && self.at_work >= self.options.jobs.max(1);
            let State::Ready(ready) = &self.states[index] else { continue };
            if full || ready.after.is_some_and(|after| after > now) || self.recall(index)? {
                continue;
            }
            match is_local(stage) {
                true => self.start(vec![index])?,
                false => jobs.entry(&stage.base).or_default().push(index),
            }
        }
        jobs.into_values().try_for_each(|points| self.start(points))
    }

    /// Whether a ready stage must wait after all, since bytes that it reads are gone: who made them makes them again.
    fn recall(&mut self, index: usize) -> Result<bool, EngineError> {
        let mut lost = Vec::new();
        for from in self.needs(index) {
            if let Some(key) = self.look.keys[from].filter(|_| self.look.made[from].is_some())
                && self.options.store.made(&key)?.is_none()
            {
                lost.push(from);
            }
        }
        for &maker in &lost {
            self.wait_again(index, maker)?;
        }
        Ok(!lost.is_empty())
    }

    /// Starts points of one stage together, as far as there is room for them.
    fn start(&mut self, points: Vec<usize>) -> Result<(), EngineError> {
        let mut starts = Vec::new();
        for index in points {
            if let Some(obstacle) = obstacle(self.pipeline, self.options, &self.look, index) {
                self.finish(index, Outcome::Failed, Some(obstacle.message))?;
            } else {
                starts.extend(self.prepare_start(index));
            }
        }
        let launches =
            starts.iter().map(|start| Launch { request: start.request.clone(), sink: self.sink(start.index) });
        let jobs = self.options.launcher.launch_many(launches.collect())?;
        starts.into_iter().zip(jobs).try_for_each(|(start, job)| self.started(start, job))
    }

    /// Takes what a ready stage needs of this machine; `None` where that is not free.
    fn prepare_start(&mut self, index: usize) -> Option<Start> {
        let stage = self.stage(index);
        let (State::Ready(ready), Some(prepared)) = (&self.states[index], &self.look.prepared[index]) else {
            return None;
        };
        let (manifest, tried) = (ready.manifest.clone(), ready.tried);
        let claim = match is_local(stage) {
            true => self.free.claim(&Demand::of(stage, prepared.device, self.options))?,
            false => Claim::default(),
        };
        let mut request = self.known().request(index, manifest, self.options)?;
        request.device = claim.device(request.device);
        request.gpus = claim.gpus().to_vec();
        request.force = self.forced[index];
        request.log = log_path(&self.recorder.dir, &stage.name);
        Some(Start { index, request, claim, tried })
    }

    /// Where a worker's reports go; the run may be over when it still talks, and then nobody needs to hear it.
    fn sink(&self, index: usize) -> Sink {
        let sender = self.sender.clone();
        Box::new(move |report| drop(sender.send((index, report))))
    }

    fn started(&mut self, start: Start, job: Box<dyn Job>) -> Result<(), EngineError> {
        let Start { index, request, claim, tried } = start;
        let (stage, key, causes) = (self.stage(index), request.manifest.key(), self.causes(index));
        let started = Instant::now();
        let running = Running { manifest: request.manifest, job, started, claim, tried, last: None, end: End::Open };
        self.set(index, State::Running(Box::new(running)));
        let (name, kind) = (stage.name.clone(), stage.kind.name().into());
        self.tell(&RunEvent::Start { name, kind, key, causes, log: request.log })
    }

    fn causes(&self, index: usize) -> Vec<Cause> {
        let Some(draft) = self.known().draft(index) else { return Vec::new() };
        let causes = self.look.causes(index, &draft, self.pipeline, self.options, &self.history);
        if causes.is_empty() { vec![Cause::lost_blob(self.stage(index))] } else { causes }
    }
}
