//! The run: one owner of all state, one loop.
//!
//! 1. What the plan found is done from the start; everything else waits for what it needs.
//! 2. A stage is *due to be looked at* when all that it needs is done. Then its manifest is complete: it is a hit,
//!    or it waits for its turn. So work starts at once, and an upstream that comes out the same stops the wave.
//! 3. Workers only report; every change of a stage's state goes through [`Runner::set`], which also tells it.
//!    What a stage goes through has a file each: `look`, `start`, `end`.
//! 4. Asked to stop, the loop starts nothing more and ends when the last worker has reported.

mod end;
mod look;
mod obstacles;
mod start;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gazal_spec::{Pipeline, Stage};
use gazal_store::{Digest, RunDir};

use crate::graph;
use crate::history::History;
use crate::plan::{self, Look};
use crate::prepare::Known;
use crate::record::Recorder;
use crate::resources::Resources;
use crate::state::{End, State};
use crate::{EngineError, Options, Outcome, Report, RunEvent, Stop, Summary, record};
use obstacles::{is_local, obstacles};

/// How often the loop looks whether it was asked to stop, and whether a pause or a timeout is over.
const TICK: Duration = Duration::from_millis(50);
/// Between asking a stage to write a checkpoint because its time is over and ending it.
const GRACE: Duration = Duration::from_secs(30);

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
    let recorder = Recorder::begin(options.store.new_run()?, &pipeline.name, options)?;
    Runner::new(pipeline, options, look, recorder, observer).go()
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
    /// Readers with makers whose bytes were gone once; a second time is a failure.
    mended: BTreeSet<(usize, usize)>,
    history: History<'a>,
    deep: OnceCell<Vec<Option<Digest>>>,
    free: Resources,
    reports: Receiver<(usize, Report)>,
    sender: Sender<(usize, Report)>,
    recorder: Recorder,
    /// Whether the graph is in the run's folder.
    is_drawn: bool,
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
            is_drawn: false,
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
            if self.may_start() && !self.due.is_empty() {
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
        let names = part.iter().map(|&index| self.stage(index).name.as_str());
        let mut hits = String::with_capacity(names.map(record::hit_length).sum());
        for &index in part {
            let stage = self.stage(index);
            if self.look.is_done(index) && stage.when.is_empty() && stage.gates.is_empty() {
                hits.extend(self.look.keys[index].map(|key| record::hit_line(&key, &stage.name)));
                let event = self.done(index, Outcome::Hit, None);
                (self.observer)(&event);
            }
        }
        // Done before anything waits: a large run that finds everything has no edges to keep.
        self.recorder.add_text(record::HITS, &hits, self.run_before()?.as_ref())?;
        let waits = |state: &State| matches!(state, State::Waiting);
        for &index in part {
            if !waits(&self.states[index]) {
                continue;
            }
            let needs: BTreeSet<usize> =
                self.needs(index).into_iter().filter(|&from| waits(&self.states[from])).collect();
            needs.into_iter().for_each(|from| self.wait_for(index, from));
            if self.open[index] == 0 {
                self.due.push_back(index);
            }
        }
        Ok(())
    }

    fn run_before(&self) -> Result<Option<RunDir>, EngineError> {
        let mut runs = self.options.store.runs()?;
        runs.retain(|run| *run != self.recorder.dir);
        Ok(runs.pop())
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
        self.summary.saved = part.iter().filter_map(|&index| self.saved(index)).sum();
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        let summary = self.summary.clone();
        self.tell(&RunEvent::Run(summary.clone()))?;
        Ok(summary)
    }

    /// How long a hit took when it was made, in seconds.
    fn saved(&self, index: usize) -> Option<f64> {
        let is_hit = matches!(self.states[index], State::Done(Outcome::Hit));
        self.look.made[index].as_ref().filter(|_| is_hit).map(|made| made.seconds)
    }

    fn tell(&mut self, event: &RunEvent) -> Result<(), EngineError> {
        if !self.is_drawn && event.is_news() {
            self.draw()?;
        }
        self.recorder.add(event)?;
        (self.observer)(event);
        Ok(())
    }

    /// Keeps the graph, once there is something to tell: a run that finds everything done has no time for it.
    fn draw(&mut self) -> Result<(), EngineError> {
        let part = self.options.selected.iter().filter(|&&index| self.is_part(index));
        let text: String = part.map(|&index| graph::line(self.pipeline, index)).collect();
        self.is_drawn = true;
        self.recorder.add_text(graph::FILE, &text, self.run_before()?.as_ref())
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
}
