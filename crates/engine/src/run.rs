//! The run: one owner of all state, one loop.
//!
//! 1. The plan's hits are done from the start; everything else waits for what it needs.
//! 2. A stage is *ready to be looked at* when all that it needs is done. Then its manifest is complete: it is a hit,
//!    or it waits for CPU slots. So work starts at once, and an upstream that comes out the same stops the wave.
//! 3. Workers only report; every change of a stage's state goes through [`Runner::set`], which also tells it.
//! 4. Asked to stop, the loop starts nothing more and ends when the last worker has reported.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gazal_spec::{Pipeline, Stage};
use gazal_stage_api::Event;
use gazal_store::{Digest, Receipt};

use crate::history::History;
use crate::plan::{self, Found, Look, PlanState, Planned, lookup, produced};
use crate::prepare::{Draft, Prepared, mistake};
use crate::record::{Recorder, log_path};
use crate::state::{Running, State};
use crate::{Cause, EngineError, Manifest, Mistake, Options, Outcome, Report, RunEvent, Said, Stop, Summary};

/// How often the loop looks whether it was asked to stop.
const TICK: Duration = Duration::from_millis(50);

/// Brings the selected stages up to date and tells `observer` what happens.
///
/// # Errors
/// What stands in the way before anything runs ([`EngineError::Wrong`]), and a store that cannot be used. A stage
/// that fails is no error but an outcome.
pub fn run(
    pipeline: &Pipeline,
    options: &Options,
    observer: &mut dyn FnMut(&RunEvent),
) -> Result<Summary, EngineError> {
    let look = plan::look(pipeline, options)?;
    let obstacles = obstacles(pipeline, options, &look);
    if !obstacles.is_empty() {
        return Err(EngineError::Wrong(obstacles));
    }
    let recorder = Recorder::begin(options.store.new_run()?, &pipeline.name, &options.file, &options.requested)?;
    Runner::new(pipeline, options, look, recorder, observer).go()
}

/// What would make a stage that must run fail for certain, said before anything runs.
fn obstacles(pipeline: &Pipeline, options: &Options, look: &Look) -> Vec<Mistake> {
    let must_run = |planned: &&Planned| planned.state == PlanState::Run;
    let stages = look.plan.stages.iter().filter(must_run).filter_map(|planned| {
        let index = pipeline.stages.iter().position(|stage| stage.name == planned.name)?;
        Some((&pipeline.stages[index], look.prepared[index].as_ref()?))
    });
    stages.filter_map(|(stage, prepared)| obstacle(stage, prepared, options)).collect()
}

fn obstacle(stage: &Stage, prepared: &Prepared, options: &Options) -> Option<Mistake> {
    if let Some(reason) = stage.kind.unavailable(&stage.params) {
        return Some(mistake(stage, "kind", reason));
    }
    if !stage.kind.traits().computes {
        return None;
    }
    let refused = (options.device_check)(prepared.device.backend).err()?;
    Some(mistake(stage, "backend", refused))
}

struct Runner<'a> {
    pipeline: &'a Pipeline,
    options: &'a Options<'a>,
    prepared: Vec<Option<Prepared>>,
    /// Of all that is done well.
    receipts: Vec<Option<Receipt>>,
    states: Vec<State>,
    /// Stages that must run whatever the store has.
    forced: Vec<bool>,
    /// Stages whose inputs were found damaged once; a second time is a failure.
    mended: Vec<bool>,
    history: History<'a>,
    free_cpus: u32,
    running: usize,
    reports: Receiver<(usize, Report)>,
    sender: Sender<(usize, Report)>,
    recorder: Recorder,
    observer: &'a mut dyn FnMut(&RunEvent),
    summary: Summary,
    started: Instant,
}

impl<'a> Runner<'a> {
    fn new(
        pipeline: &'a Pipeline,
        options: &'a Options<'a>,
        look: Look,
        recorder: Recorder,
        observer: &'a mut dyn FnMut(&RunEvent),
    ) -> Runner<'a> {
        let (sender, reports) = mpsc::channel();
        let count = pipeline.stages.len();
        let mut states: Vec<State> = (0..count).map(|_| State::Out).collect();
        options.selected.iter().for_each(|&index| states[index] = State::Waiting);
        Runner {
            pipeline,
            options,
            prepared: look.prepared,
            receipts: look.receipts,
            states,
            forced: (0..count).map(|index| options.force.contains(&index)).collect(),
            mended: vec![false; count],
            history: History::new(&options.store, &options.file),
            free_cpus: options.threads.max(1),
            running: 0,
            reports,
            sender,
            summary: Summary { run: recorder.dir.id().into(), ..Summary::default() },
            recorder,
            observer,
            started: Instant::now(),
        }
    }

    fn go(mut self) -> Result<Summary, EngineError> {
        let (run, pipeline) = (self.summary.run.clone(), self.pipeline.name.clone());
        self.tell(&RunEvent::Begin { run, pipeline, stages: self.options.selected.len() })?;
        loop {
            self.obey();
            if self.options.cancel.level() == Stop::No {
                self.look_at_waiting()?;
                self.start_ready()?;
            }
            if self.running == 0 {
                break;
            }
            match self.reports.recv_timeout(TICK) {
                Ok((index, report)) => self.hear(index, report)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        self.close()
    }

    /// What never began is skipped; then the last word.
    fn close(mut self) -> Result<Summary, EngineError> {
        for index in self.options.selected.clone() {
            if matches!(self.states[index], State::Waiting | State::Ready(_)) {
                self.finish(index, Outcome::Skipped, None)?;
            }
        }
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        let summary = self.summary.clone();
        self.tell(&RunEvent::Run(summary.clone()))?;
        Ok(summary)
    }

    fn tell(&mut self, event: &RunEvent) -> Result<(), EngineError> {
        self.recorder.add(event)?;
        (self.observer)(event);
        Ok(())
    }

    fn stage(&self, index: usize) -> &'a Stage {
        &self.pipeline.stages[index]
    }

    /// The one place where a stage changes its state.
    fn set(&mut self, index: usize, state: State) {
        if let State::Running(running) = &self.states[index] {
            self.free_cpus += running.cpus;
            self.running -= 1;
        }
        if let State::Running(running) = &state {
            self.free_cpus = self.free_cpus.saturating_sub(running.cpus);
            self.running += 1;
        }
        self.states[index] = state;
    }

    fn finish(&mut self, index: usize, outcome: Outcome, error: Option<String>) -> Result<(), EngineError> {
        let (key, seconds) = match &self.states[index] {
            State::Running(running) => (Some(running.manifest.key()), running.started.elapsed().as_secs_f64()),
            State::Ready(manifest) => (Some(manifest.key()), 0.0),
            _ => (None, 0.0),
        };
        self.end(index, &RunEvent::Stage { name: self.stage(index).name.clone(), state: outcome, seconds, key, error })
    }

    fn end(&mut self, index: usize, event: &RunEvent) -> Result<(), EngineError> {
        if let RunEvent::Stage { state, .. } = event {
            self.set(index, State::Done(*state));
            self.summary.count(*state);
        }
        self.tell(event)
    }

    /// Looks at every waiting stage whose upstreams are done; stages are in topological order, so once is enough.
    fn look_at_waiting(&mut self) -> Result<(), EngineError> {
        for index in self.options.selected.clone() {
            if !matches!(self.states[index], State::Waiting) {
                continue;
            }
            let upstream: Vec<Option<Outcome>> =
                self.stage(index).needed().map(|from| self.outcome(from.stage)).collect();
            if upstream.iter().flatten().any(|outcome| !outcome.is_success()) {
                self.finish(index, Outcome::Blocked, None)?;
            } else if upstream.iter().all(Option::is_some) {
                self.look_at(index)?;
            }
        }
        Ok(())
    }

    fn outcome(&self, index: usize) -> Option<Outcome> {
        match self.states[index] {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Completes a stage's manifest: a hit is done, anything else is ready.
    fn look_at(&mut self, index: usize) -> Result<(), EngineError> {
        let Some(draft) = self.draft(index) else { return Ok(()) };
        let key = draft.manifest.key();
        if !self.forced[index]
            && let Found::Hit(receipt) = lookup(&self.options.store, &key)?
        {
            return self.hit(index, key, receipt);
        }
        self.set(index, State::Ready(Box::new(draft.manifest)));
        Ok(())
    }

    fn hit(&mut self, index: usize, key: Digest, receipt: Receipt) -> Result<(), EngineError> {
        self.receipts[index] = Some(receipt);
        let name = self.stage(index).name.clone();
        self.end(index, &RunEvent::Stage { name, state: Outcome::Hit, seconds: 0.0, key: Some(key), error: None })
    }

    fn draft(&self, index: usize) -> Option<Draft> {
        let prepared = self.prepared[index].as_ref()?;
        Some(prepared.draft(self.stage(index), &|from| produced(&self.receipts, from)))
    }

    /// Starts what is ready while slots last.
    fn start_ready(&mut self) -> Result<(), EngineError> {
        for index in self.options.selected.clone() {
            let State::Ready(manifest) = &self.states[index] else { continue };
            let cpus = self.options.cpus(self.stage(index));
            if self.running < self.options.jobs.max(1) && cpus <= self.free_cpus {
                let manifest = Manifest::clone(manifest);
                self.start(index, manifest, cpus)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize, manifest: Manifest, cpus: u32) -> Result<(), EngineError> {
        let (stage, Some(prepared)) = (self.stage(index), &self.prepared[index]) else { return Ok(()) };
        if let Some(obstacle) = obstacle(stage, prepared, self.options) {
            return self.finish(index, Outcome::Failed, Some(obstacle.message));
        }
        let mut request =
            prepared.request(stage, self.options, manifest.clone(), &|from| produced(&self.receipts, from));
        request.force = self.forced[index];
        let log = log_path(&self.recorder.dir, &stage.name);
        let sender = self.sender.clone();
        // The run may be over when a worker still talks: then nobody needs to hear it.
        let sink = Box::new(move |report| drop(sender.send((index, report))));
        let job = self.options.launcher.launch(&request, &log, sink)?;
        let (key, causes) = (manifest.key(), self.causes(index));
        let started = Instant::now();
        self.set(
            index,
            State::Running(Box::new(Running { manifest, job, started, cpus, last: None, asked: false, killed: false })),
        );
        self.tell(&RunEvent::Start { name: stage.name.clone(), kind: stage.kind.name().into(), key, causes, log })
    }

    fn causes(&self, index: usize) -> Vec<Cause> {
        let stage = self.stage(index);
        match self.draft(index) {
            _ if self.options.force.contains(&index) => vec![Cause::forced(stage)],
            Some(draft) => {
                let causes = plan::causes(stage, &draft, &self.history);
                if causes.is_empty() { vec![Cause::lost_blob(stage)] } else { causes }
            }
            None => Vec::new(),
        }
    }

    /// Passes on to the workers that the run was asked to stop.
    fn obey(&mut self) {
        let level = self.options.cancel.level();
        for state in &mut self.states {
            let State::Running(running) = state else { continue };
            if level >= Stop::Checkpoint && !running.asked {
                running.asked = true;
                running.job.cancel();
            }
            if level == Stop::Now && !running.killed {
                running.killed = true;
                running.job.kill();
            }
        }
    }

    fn hear(&mut self, index: usize, report: Report) -> Result<(), EngineError> {
        match report {
            Report::Said(Said::Event(event)) => self.pass_on(index, event),
            Report::Said(Said::Waiting) => {
                let text = "waits for another run that is at it".to_string();
                self.pass_on(index, Event::Message { level: gazal_stage_api::Level::Info, text })
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

    /// A worker has ended: what were its last words?
    fn conclude(&mut self, index: usize) -> Result<(), EngineError> {
        let State::Running(running) = &mut self.states[index] else { return Ok(()) };
        let status = running.job.reap();
        let key = running.manifest.key();
        match running.last.take() {
            Some(Said::Ran) => self.made(index, &key, Outcome::Ran),
            Some(Said::Found) => self.made(index, &key, Outcome::Hit),
            Some(Said::Cancelled) => self.finish(index, Outcome::Interrupted, None),
            Some(Said::Failed(message)) => self.finish(index, Outcome::Failed, Some(message)),
            Some(Said::Unusable(message)) => Err(EngineError::Unusable(message)),
            Some(Said::Damaged(artifact)) => self.mend(index, artifact),
            _ if running.killed => self.finish(index, Outcome::Interrupted, None),
            _ => self.finish(index, Outcome::Failed, Some(format!("its worker died ({status}); see its log"))),
        }
    }

    fn made(&mut self, index: usize, key: &Digest, outcome: Outcome) -> Result<(), EngineError> {
        match self.options.store.hit(key)? {
            Some(receipt) => {
                self.receipts[index] = Some(receipt);
                self.forced[index] = false;
                self.finish(index, outcome, None)
            }
            None => self.finish(index, Outcome::Failed, Some("its result vanished from the store".into())),
        }
    }

    /// An input's bytes are gone: whoever made them makes them again, and this stage waits for it.
    fn mend(&mut self, index: usize, artifact: Digest) -> Result<(), EngineError> {
        let holds = |receipt: &Receipt| receipt.outputs.values().any(|output| output.artifact.bytes == artifact);
        let mut makers = self.stage(index).needed().map(|from| from.stage);
        let maker = makers.find(|&from| self.receipts[from].as_ref().is_some_and(holds));
        let Some(maker) = maker.filter(|_| !self.mended[index]) else {
            return self.finish(index, Outcome::Failed, Some(format!("an input ({artifact}) is damaged")));
        };
        self.mended[index] = true;
        let text = format!("an input is damaged: `{}` runs again", self.stage(maker).name);
        self.pass_on(index, Event::Message { level: gazal_stage_api::Level::Warning, text })?;
        self.receipts[maker] = None;
        if let State::Done(outcome) = self.states[maker] {
            self.summary.uncount(outcome);
        }
        self.set(index, State::Waiting);
        self.set(maker, State::Waiting);
        Ok(())
    }
}
