//! The run: one owner of all state, one loop.
//!
//! 1. What the plan found is done from the start; everything else waits for what it needs.
//! 2. A stage is *due to be looked at* when all that it needs is done. Then its manifest is complete: it is a hit,
//!    or it waits for its turn. So work starts at once, and an upstream that comes out the same stops the wave.
//! 3. Workers only report; every change of a stage's state goes through [`Runner::set`], which also tells it.
//! 4. Asked to stop, the loop starts nothing more and ends when the last worker has reported.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gazal_spec::{Executor, Pipeline, Stage};
use gazal_stage_api::{Event, Level};
use gazal_store::{Digest, Made};

use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::{self, Found, Look, lookup};
use crate::prepare::{Known, mistake};
use crate::record::{Recorder, log_path};
use crate::resources::{Claim, Demand, Resources};
use crate::state::{End, Ready, Running, State};
use crate::{
    Cause, EngineError, Job, Launch, Mistake, Options, Outcome, Report, Request, RunEvent, Said, Sink, Stop, Summary,
};

/// How often the loop looks whether it was asked to stop, and whether a pause or a timeout is over.
const TICK: Duration = Duration::from_millis(50);
/// Between asking a stage to write a checkpoint because its time is over and ending it.
const GRACE: Duration = Duration::from_secs(30);
/// The longest pause before a retry.
const LONGEST: Duration = Duration::from_secs(600);

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
    if let Some(expected) = &options.expected {
        let moved = expected.moved(&look.plan(pipeline, options));
        if !moved.is_empty() {
            return Err(EngineError::Stale(moved));
        }
    }
    let obstacles = obstacles(pipeline, options, &look);
    if !obstacles.is_empty() {
        return Err(EngineError::Wrong(obstacles));
    }
    let recorder = Recorder::begin(options.store.new_run()?, &pipeline.name, &options.file, &options.requested)?;
    Runner::new(pipeline, options, look, recorder, observer).go()
}

/// What would make a stage that must run fail for certain, said before anything runs.
fn obstacles(pipeline: &Pipeline, options: &Options, look: &Look) -> Vec<Mistake> {
    let mut found = Vec::new();
    for &index in &options.selected {
        let other = options.single && !options.targets.contains(&index);
        if other && !look.is_done(index) && !look.is_spare(index) {
            let message = "it would have to run first, and `--single` runs nothing but the named stages";
            found.push(mistake(&pipeline.stages[index], "", message));
        } else if look.must_run(index) {
            found.extend(obstacle(pipeline, options, look, index));
        }
    }
    found
}

fn obstacle(pipeline: &Pipeline, options: &Options, look: &Look, index: usize) -> Option<Mistake> {
    let stage = &pipeline.stages[index];
    let device = look.prepared[index].as_ref()?.device;
    if let Some(reason) = stage.kind.unavailable(&stage.params) {
        return Some(mistake(stage, "kind", reason));
    }
    if !is_local(stage) {
        let refused = (options.slurm_check)().err()?;
        return Some(Mistake { help: Some(SLURM_HELP.into()), ..mistake(stage, "executor", refused) });
    }
    if stage.kind.traits().computes
        && let Err(refused) = (options.device_check)(device.backend)
    {
        return Some(mistake(stage, "backend", refused));
    }
    let (field, reason) = Demand::of(stage, device, options).too_much(options)?;
    Some(mistake(stage, field, reason))
}

const SLURM_HELP: &str = "run on a machine that can submit jobs, or set `executor = \"local\"`";

/// Whether a stage's worker is a process of this machine.
fn is_local(stage: &Stage) -> bool {
    stage.executor == Executor::Local
}

/// A stage that is about to start.
struct Start {
    index: usize,
    request: Request,
    claim: Claim,
    tried: u32,
}

struct Runner<'a> {
    pipeline: &'a Pipeline,
    options: &'a Options<'a>,
    look: Look,
    states: Vec<State>,
    /// How many of a stage's needs are still to be done.
    open: Vec<usize>,
    /// Who waits for a stage: each is counted in `open`.
    readers: Vec<Vec<usize>>,
    /// Waiting stages whose needs are done.
    due: VecDeque<usize>,
    ready: BTreeSet<usize>,
    running: BTreeSet<usize>,
    /// How many of them are processes of this machine.
    at_work: usize,
    /// How many stages of each kind are not done.
    to_come: HashMap<&'static str, usize>,
    /// Stages that must run whatever the store has.
    forced: Vec<bool>,
    /// Inputs that were found damaged once, with their readers; a second time is a failure.
    mended: BTreeSet<(usize, Digest)>,
    history: History<'a>,
    deep: OnceCell<Vec<Option<Digest>>>,
    free: Resources,
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
        Runner {
            pipeline,
            options,
            look,
            states: (0..count).map(|_| State::Out).collect(),
            open: vec![0; count],
            readers: vec![Vec::new(); count],
            due: VecDeque::new(),
            ready: BTreeSet::new(),
            running: BTreeSet::new(),
            at_work: 0,
            to_come: HashMap::new(),
            forced: (0..count).map(|index| options.force.contains(&index)).collect(),
            mended: BTreeSet::new(),
            history: History::new(&options.store, &options.file),
            deep: OnceCell::new(),
            free: Resources::of(options, &pipeline.pools),
            reports,
            sender,
            summary: Summary { run: recorder.dir.id().into(), ..Summary::default() },
            recorder,
            observer,
            started: Instant::now(),
        }
    }

    fn go(mut self) -> Result<Summary, EngineError> {
        let part: Vec<usize> = self.options.selected.iter().copied().filter(|&index| self.is_part(index)).collect();
        let (run, pipeline) = (self.summary.run.clone(), self.pipeline.name.clone());
        self.tell(&RunEvent::Begin { run, pipeline, stages: part.len() })?;
        self.settle(&part)?;
        loop {
            self.obey()?;
            if self.may_start() {
                self.look_at_due()?;
                self.start_ready()?;
            }
            self.retire();
            let more = self.may_start() && !(self.ready.is_empty() && self.due.is_empty());
            if self.running.is_empty() && !more {
                break;
            }
            if !self.due.is_empty() {
                continue;
            }
            match self.reports.recv_timeout(TICK) {
                Ok((index, report)) => self.hear(index, report)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        self.close(&part)
    }

    fn is_part(&self, index: usize) -> bool {
        !self.stage(index).is_service && !self.look.is_spare(index)
    }

    fn may_start(&self) -> bool {
        let failed = self.options.fail_fast && self.summary.failed > 0;
        self.options.cancel.level() == Stop::No && !failed
    }

    /// What the plan knows: hits are done, what cannot be left out waits for what it needs.
    fn settle(&mut self, part: &[usize]) -> Result<(), EngineError> {
        for &index in part {
            self.set(index, State::Waiting);
        }
        for &index in part {
            let waits = |from: &usize| matches!(self.states[*from], State::Waiting);
            let needs: BTreeSet<usize> = self.needs(index).into_iter().filter(waits).collect();
            needs.into_iter().for_each(|from| self.wait_for(index, from));
        }
        let mut hits = Vec::new();
        for &index in part {
            let judged = !self.stage(index).when.is_empty() || !self.stage(index).gates.is_empty();
            if self.look.is_done(index) && !judged {
                hits.extend(self.look.keys[index].map(|key| (key, self.stage(index).name.as_str())));
                let event = self.done(index, Outcome::Hit, None);
                (self.observer)(&event);
            } else if self.open[index] == 0 && matches!(self.states[index], State::Waiting) {
                self.due.push_back(index);
            }
        }
        let runs = self.options.store.runs()?;
        self.recorder.add_hits(&hits, runs.iter().rev().find(|run| **run != self.recorder.dir))
    }

    /// What a stage waits for; one that serves another is replaced by what it reads itself.
    fn needs(&self, index: usize) -> Vec<usize> {
        let direct = self.pipeline.needs(index);
        direct.flat_map(|from| if self.stage(from).is_service { self.needs(from) } else { vec![from] }).collect()
    }

    /// What never began is skipped; then the last word.
    fn close(mut self, part: &[usize]) -> Result<Summary, EngineError> {
        for &index in part {
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

    fn known(&self) -> Known<'_> {
        self.look.known(self.pipeline)
    }

    /// The one place where a stage changes its state.
    fn set(&mut self, index: usize, state: State) {
        let to_come = self.to_come.entry(self.stage(index).kind.name()).or_default();
        match (&self.states[index], &state) {
            (State::Out | State::Done(_), State::Done(_)) => {}
            (State::Out | State::Done(_), _) => *to_come += 1,
            (_, State::Done(_)) => *to_come -= 1,
            _ => {}
        }
        self.ready.remove(&index);
        self.running.remove(&index);
        match &state {
            State::Ready(_) => drop(self.ready.insert(index)),
            State::Running(_) => drop(self.running.insert(index)),
            _ => {}
        }
        let local = usize::from(is_local(self.stage(index)));
        if matches!(state, State::Running(_)) {
            self.at_work += local;
        }
        if let State::Running(before) = std::mem::replace(&mut self.states[index], state) {
            self.free.release(before.claim);
            self.at_work -= local;
        }
    }

    fn finish(&mut self, index: usize, outcome: Outcome, error: Option<String>) -> Result<(), EngineError> {
        let event = self.done(index, outcome, error);
        self.tell(&event)
    }

    /// A stage is done: whoever waits for it may be due. What is to be told of it.
    fn done(&mut self, index: usize, state: Outcome, error: Option<String>) -> RunEvent {
        let (key, seconds) = match &self.states[index] {
            State::Running(running) => (Some(running.manifest.key()), running.started.elapsed().as_secs_f64()),
            State::Ready(ready) => (Some(ready.manifest.key()), 0.0),
            _ => (self.look.keys[index], 0.0),
        };
        let allowed = state == Outcome::Failed && self.stage(index).policy.allow_failure;
        self.set(index, State::Done(state));
        *self.counter(state, allowed) += 1;
        for reader in std::mem::take(&mut self.readers[index]) {
            self.open[reader] -= 1;
            if self.open[reader] == 0 {
                self.due.push_back(reader);
            }
        }
        RunEvent::Stage { name: self.stage(index).name.clone(), state, seconds, key, error, allowed }
    }

    fn counter(&mut self, outcome: Outcome, allowed: bool) -> &mut usize {
        if allowed { &mut self.summary.allowed } else { self.summary.number(outcome) }
    }

    fn look_at_due(&mut self) -> Result<(), EngineError> {
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
        let before = |condition: &&gazal_spec::Condition| condition.stages().all(|judged| judged != index);
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
    fn pass(&mut self, index: usize, outcome: Outcome) -> Result<(), EngineError> {
        let own = |condition: &&gazal_spec::Condition| condition.stages().any(|judged| judged == index);
        let metrics = self.metrics();
        let refusal = self.stage(index).gates.iter().filter(own).find_map(|condition| metrics.refusal(condition));
        match refusal {
            Some(why) => self.finish(index, Outcome::Failed, Some(format!("gate: {why}"))),
            None => self.finish(index, outcome, None),
        }
    }

    /// Starts what is ready: jobs of a cluster all at once, processes while this machine has something left.
    fn start_ready(&mut self) -> Result<(), EngineError> {
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

    /// Whether a ready stage must wait after all, since bytes that it reads are not there: who made them makes them again.
    fn recall(&mut self, index: usize) -> Result<bool, EngineError> {
        let mut lost = Vec::new();
        for from in self.needs(index) {
            let Some(made) = &self.look.made[from] else { continue };
            let artifacts = made.outputs.iter().map(|(_, output)| output.artifact);
            let gone = artifacts.filter(|artifact| !self.options.store.has(artifact));
            lost.extend(gone.map(|artifact| (from, artifact.bytes)));
        }
        for &(_, artifact) in &lost {
            self.mend(index, artifact)?;
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

    /// Passes on to the workers that the run was asked to stop, or that their time is over.
    fn obey(&mut self) -> Result<(), EngineError> {
        let level = self.options.cancel.level();
        for index in self.running.clone() {
            // A cluster counts the time itself, from when the job left its queue.
            let timeout = self.stage(index).policy.timeout.filter(|_| is_local(self.stage(index)));
            let State::Running(running) = &mut self.states[index] else { continue };
            let over = timeout.and_then(|timeout| running.started.elapsed().checked_sub(timeout));
            let wanted = match level {
                Stop::Now => End::Killed,
                _ if over.is_some_and(|over| over > GRACE) => End::Killed,
                Stop::Checkpoint => End::Asked,
                Stop::No => {
                    if over.is_some() {
                        End::Asked
                    } else {
                        End::Open
                    }
                }
            };
            if wanted >= End::Asked && running.end == End::Open {
                running.job.cancel();
            }
            if wanted == End::Killed && running.end != End::Killed {
                running.job.kill();
            }
            running.end = running.end.max(wanted);
        }
        Ok(())
    }

    /// Workers go when nothing of their kind is to come.
    fn retire(&self) {
        self.options.launcher.retire(&|kind| self.to_come.get(kind).is_some_and(|count| *count > 0));
    }

    fn hear(&mut self, index: usize, report: Report) -> Result<(), EngineError> {
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
        }
        self.pass(index, outcome)
    }

    /// An input's bytes are gone: whoever made them makes them again, and this stage waits for it.
    fn mend(&mut self, index: usize, artifact: Digest) -> Result<(), EngineError> {
        let holds = |made: &Made| made.outputs.iter().any(|(_, output)| output.artifact.bytes == artifact);
        let mut makers = self.needs(index).into_iter();
        let maker = makers.find(|&from| self.look.made[from].as_ref().is_some_and(holds));
        let Some(maker) = maker.filter(|_| self.mended.insert((index, artifact))) else {
            return self.finish(index, Outcome::Failed, Some(format!("an input ({artifact}) is damaged")));
        };
        let text = format!("the bytes of an input are gone: `{}` runs again", self.stage(maker).name);
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

    fn wait_for(&mut self, reader: usize, maker: usize) {
        self.open[reader] += 1;
        self.readers[maker].push(reader);
    }
}
