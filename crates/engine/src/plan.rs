//! What a run would do, and why.
//!
//! HIT: the result is there, or nobody needs its bytes. RUN: no receipt can fit, whatever the stages before it produce.
//! MAYBE: it depends on a stage that will run, and there is a receipt that would fit if that comes out as before.
//!
//! Targets must have their bytes afterwards, other stages only where somebody reads them. So what a collection has
//! taken is made again only when it is needed, and a stage that was found by its deep key needs none of the stages
//! before it: those are no part of the plan.

use std::cmp::max;

use gazal_spec::Pipeline;
use gazal_store::{Digest, Made, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::cause::{self, Cause};
use crate::estimate::{Estimate, Forecasts};
use crate::history::History;
use crate::metrics::Metrics;
use crate::prepare::{self, Draft, Known, Prepared};
use crate::{EngineError, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanState {
    Hit,
    Run,
    Maybe,
    /// Its `when` does not hold, or that of a stage that it needs.
    Skip,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub name: String,
    pub kind: String,
    pub state: PlanState,
    /// `None` while an input is unknown.
    pub key: Option<Digest>,
    pub causes: Vec<Cause>,
    /// What it will take, where something is known of that; never for hits.
    pub estimate: Option<Estimate>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub stages: Vec<Planned>,
}

impl Plan {
    /// Where another plan says something else: stage by stage, for people. Causes and estimates may differ.
    pub fn moved(&self, now: &Plan) -> Vec<String> {
        let said = |plan: &Plan, name: &str| {
            plan.stages.iter().find(|stage| stage.name == name).map(|stage| (stage.state, stage.key))
        };
        let others = now.stages.iter().filter(|stage| said(self, &stage.name).is_none());
        let names = self.stages.iter().chain(others).map(|stage| stage.name.as_str());
        let told = |found: Option<(PlanState, Option<Digest>)>| match found {
            Some((state, Some(key))) => format!("{} {}", state.name(), key.short()),
            Some((state, None)) => state.name().to_string(),
            None => "not planned".to_string(),
        };
        let pairs = names.map(|name| (name, said(self, name), said(now, name)));
        pairs
            .filter(|(_, was, now)| was != now)
            .map(|(name, was, now)| format!("`{name}` was {}, is {}", told(was), told(now)))
            .collect()
    }
}

impl PlanState {
    pub fn name(self) -> &'static str {
        match self {
            PlanState::Hit => "hit",
            PlanState::Run => "run",
            PlanState::Maybe => "maybe",
            PlanState::Skip => "skip",
        }
    }
}

/// Plans the selected stages.
///
/// # Errors
/// [`EngineError::Wrong`] for files that are not there, [`EngineError::Store`] where the store cannot be read.
pub fn plan(pipeline: &Pipeline, options: &Options) -> Result<Plan, EngineError> {
    let look = look(pipeline, options)?;
    Ok(look.plan(pipeline, options))
}

/// What the store has for a stage.
pub(crate) enum Standing {
    /// Not selected.
    Out,
    /// All of it.
    Here,
    /// A receipt whose bytes are not all there.
    Thin,
    /// All of it, found without what it reads.
    Deep,
    Nothing,
}

/// How much somebody wants a stage's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    No,
    /// If a stage runs of which that is not certain.
    Maybe,
    Yes,
}

/// The selected stages as the store knows them, and what a run goes on from.
pub(crate) struct Look {
    pub prepared: Vec<Option<Prepared>>,
    pub standing: Vec<Standing>,
    pub want: Vec<Want>,
    /// What they made whose outputs are known and will stay as they are.
    pub made: Vec<Option<Made>>,
    pub keys: Vec<Option<Digest>>,
    /// Why stages are left out for certain.
    pub left_out: Vec<Option<String>>,
    /// Made again though there is a receipt.
    again: Vec<bool>,
}

pub(crate) fn look(pipeline: &Pipeline, options: &Options) -> Result<Look, EngineError> {
    let prepared = prepare::prepare(pipeline, options)?;
    let count = pipeline.stages.len();
    let mut look = Look {
        prepared,
        standing: (0..count).map(|_| Standing::Out).collect(),
        want: vec![Want::No; count],
        made: (0..count).map(|_| None).collect(),
        keys: vec![None; count],
        left_out: vec![None; count],
        again: (0..count).map(|index| options.force.contains(&index)).collect(),
    };
    let mut looker = Looker { pipeline, options, history: History::new(&options.store, &options.file), deep: None };
    loop {
        looker.stand(&mut look)?;
        if !looker.want(&mut look) {
            return Ok(look);
        }
    }
}

struct Looker<'a> {
    pipeline: &'a Pipeline,
    options: &'a Options<'a>,
    history: History<'a>,
    /// Computed when something is missing.
    deep: Option<Vec<Option<Digest>>>,
}

impl Looker<'_> {
    /// Looks every stage up, each after all that it reads.
    fn stand(&mut self, look: &mut Look) -> Result<(), EngineError> {
        for &index in &self.options.selected {
            let stage = &self.pipeline.stages[index];
            look.made[index] = None;
            let draft = look.known(self.pipeline).try_draft(index).map_err(|problem| {
                let field = format!("params.{}", problem.field);
                EngineError::Wrong(vec![prepare::mistake(stage, &field, problem.message)])
            })?;
            let Some(draft) = draft else { continue };
            look.keys[index] = draft.is_complete().then(|| draft.manifest.key());
            if stage.is_service {
                look.standing[index] = Standing::Nothing;
                continue;
            }
            look.left_out[index] = self.left_out(index, look);
            let found = match look.keys[index] {
                Some(key) => lookup(&self.options.store, &key)?,
                None => Found::Nothing,
            };
            (look.standing[index], look.made[index]) = match found {
                _ if look.again[index] => (Standing::Thin, None),
                Found::Hit(made) => (Standing::Here, Some(made)),
                Found::Lost(made) => (Standing::Thin, Some(made)),
                Found::Nothing => self.stand_deep(index, look)?,
            };
        }
        Ok(())
    }

    /// A result without what it was made from, where none of that is there.
    fn stand_deep(&mut self, index: usize, look: &mut Look) -> Result<(Standing, Option<Made>), EngineError> {
        let nothing = |from: usize| matches!(look.standing[from], Standing::Nothing) && !look.again[from];
        let absent = self.pipeline.stages[index].reads().all(|from| nothing(from.stage));
        if look.keys[index].is_some() || !absent {
            return Ok((Standing::Nothing, None));
        }
        let known = look.known(self.pipeline);
        let deep = self.deep.get_or_insert_with(|| known.deep_keys())[index];
        let key = match deep {
            Some(deep) => self.options.store.deep(&deep)?,
            None => None,
        };
        match key.map(|key| Ok::<_, StoreError>((key, lookup(&self.options.store, &key)?))).transpose()? {
            Some((key, Found::Hit(made))) => {
                look.keys[index] = Some(key);
                Ok((Standing::Deep, Some(made)))
            }
            _ => Ok((Standing::Nothing, None)),
        }
    }

    /// Why the stage will not run for certain: its `when`, or that of a stage that it needs.
    fn left_out(&self, index: usize, look: &Look) -> Option<String> {
        let stage = &self.pipeline.stages[index];
        if let Some(from) = self.pipeline.needs(index).find(|&from| look.left_out[from].is_some()) {
            return Some(format!("`{}` is left out", self.pipeline.stages[from].name));
        }
        let metrics = Metrics { store: &self.options.store, pipeline: self.pipeline, made: &look.made };
        let there = |stage: usize| matches!(look.standing[stage], Standing::Here | Standing::Deep);
        stage.when.iter().filter(|condition| condition.stages().all(there)).find_map(|one| metrics.refusal(one))
    }

    /// Who must have bytes, from the last stage to the first; true if that opens what was taken for known, so that the
    /// stages behind it have to be looked at again.
    fn want(&self, look: &mut Look) -> bool {
        look.want.fill(Want::No);
        for &index in self.options.targets.iter().chain(&self.options.force) {
            look.want[index] = Want::Yes;
        }
        for &index in self.options.selected.iter().rev() {
            let runs = self.runs(index, look);
            if look.want[index] == Want::No || look.left_out[index].is_some() {
                continue;
            }
            for from in self.pipeline.needs(index) {
                let unknown = matches!(look.standing[from], Standing::Nothing) && runs != Want::No;
                look.want[from] = max(look.want[from], if unknown { Want::Yes } else { runs });
            }
            let stage = &self.pipeline.stages[index];
            for from in stage.when.iter().chain(&stage.gates).flat_map(|condition| condition.stages()) {
                look.want[from] = Want::Yes;
            }
        }
        self.open(look)
    }

    /// Whether a stage runs if it is wanted.
    fn runs(&self, index: usize, look: &Look) -> Want {
        match look.standing[index] {
            Standing::Out | Standing::Here | Standing::Deep => Want::No,
            Standing::Thin => look.want[index],
            Standing::Nothing if look.keys[index].is_some() => look.want[index],
            Standing::Nothing => {
                let draft = look.known(self.pipeline).draft(index);
                let maybe = draft.is_some_and(|draft| self.history.may_hit(&draft));
                std::cmp::min(look.want[index], if maybe { Want::Maybe } else { Want::Yes })
            }
        }
    }

    fn open(&self, look: &mut Look) -> bool {
        let mut opened = false;
        for &index in &self.options.selected {
            let runs = |from: usize| {
                look.want[from] != Want::No && !matches!(look.standing[from], Standing::Here | Standing::Deep)
            };
            let lost = match look.standing[index] {
                Standing::Thin => look.want[index] == Want::Yes,
                // What it reads is made after all: then that decides.
                Standing::Deep => self.pipeline.needs(index).any(runs),
                _ => false,
            };
            if lost && !look.again[index] {
                look.again[index] = true;
                opened = true;
            }
        }
        opened
    }
}

impl Look {
    pub fn known<'a>(&'a self, pipeline: &'a Pipeline) -> Known<'a> {
        Known { pipeline, prepared: &self.prepared, made: &self.made }
    }

    /// Whether a stage is done with before anything runs.
    pub fn is_done(&self, index: usize) -> bool {
        match self.standing[index] {
            Standing::Here | Standing::Deep => true,
            Standing::Thin => !self.again[index],
            Standing::Nothing | Standing::Out => false,
        }
    }

    /// Whether nobody needs it, so that it is no part of the run.
    pub fn is_spare(&self, index: usize) -> bool {
        self.want[index] == Want::No && !self.is_done(index)
    }

    /// Whether it will run for certain, if what it needs comes about.
    pub fn must_run(&self, index: usize, pipeline: &Pipeline, history: &History) -> bool {
        self.want[index] == Want::Yes && self.state(index, pipeline, history) == Some(PlanState::Run)
    }

    pub fn plan(&self, pipeline: &Pipeline, options: &Options) -> Plan {
        let history = History::new(&options.store, &options.file);
        let part = |index: &&usize| !pipeline.stages[**index].is_service && !self.is_spare(**index);
        let stages = options.selected.iter().filter(part);
        let mut forecasts = Forecasts::new(pipeline, &options.store, &self.made);
        let planned = |&index| self.planned(index, pipeline, options, &history, &mut forecasts);
        Plan { stages: stages.filter_map(planned).collect() }
    }

    fn planned(
        &self,
        index: usize,
        pipeline: &Pipeline,
        options: &Options,
        history: &History,
        forecasts: &mut Forecasts,
    ) -> Option<Planned> {
        let stage = &pipeline.stages[index];
        let state = self.state(index, pipeline, history)?;
        let (causes, estimate) = match state {
            PlanState::Hit | PlanState::Skip => (Vec::new(), None),
            PlanState::Run | PlanState::Maybe => {
                let draft = self.known(pipeline).draft(index)?;
                let estimate = Estimate::of(stage, &draft, forecasts.of(index), history);
                (self.causes(index, &draft, pipeline, options, history), estimate)
            }
        };
        let key = self.keys[index].filter(|_| state != PlanState::Skip);
        Some(Planned { name: stage.name.clone(), kind: stage.kind.name().into(), state, key, causes, estimate })
    }

    fn state(&self, index: usize, pipeline: &Pipeline, history: &History) -> Option<PlanState> {
        if self.left_out[index].is_some() {
            return Some(PlanState::Skip);
        }
        if self.is_done(index) {
            let thin = matches!(self.standing[index], Standing::Thin) && self.want[index] == Want::Maybe;
            return Some(if thin { PlanState::Maybe } else { PlanState::Hit });
        }
        if !pipeline.stages[index].when.is_empty() && !self.is_judged(index, pipeline) {
            return Some(PlanState::Maybe);
        }
        let open = self.keys[index].is_none() && history.may_hit(&self.known(pipeline).draft(index)?);
        Some(if open { PlanState::Maybe } else { PlanState::Run })
    }

    /// Whether its `when` is decided.
    fn is_judged(&self, index: usize, pipeline: &Pipeline) -> bool {
        pipeline.stages[index].when.iter().flat_map(|condition| condition.stages()).all(|stage| self.is_done(stage))
    }

    /// Why a stage is not done with.
    pub fn causes(
        &self,
        index: usize,
        draft: &Draft,
        pipeline: &Pipeline,
        options: &Options,
        history: &History,
    ) -> Vec<Cause> {
        let stage = &pipeline.stages[index];
        match self.standing[index] {
            _ if options.force.contains(&index) => vec![Cause::forced(stage)],
            Standing::Thin => vec![Cause::lost_blob(stage)],
            _ => causes(stage, draft, history),
        }
    }
}

/// Why a stage without a receipt must run.
pub(crate) fn causes(stage: &gazal_spec::Stage, draft: &Draft, history: &History) -> Vec<Cause> {
    match history.nearest(&stage.name, draft) {
        Some(past) => cause::differences(stage, &past.manifest, draft),
        None => vec![Cause::new(stage)],
    }
}

/// What the store has under a key.
pub(crate) enum Found {
    Hit(Made),
    /// What was made and is no longer all there.
    Lost(Made),
    Nothing,
}

/// A hit needs its receipt and all that it made.
pub(crate) fn lookup(store: &Store, key: &Digest) -> Result<Found, StoreError> {
    match store.made(key)? {
        Some(made) => Ok(Found::Hit(made)),
        None => Ok(store.receipt(key)?.map_or(Found::Nothing, |receipt| Found::Lost(Made::from(&receipt)))),
    }
}
