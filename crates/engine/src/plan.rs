//! What a run would do, and why.
//!
//! HIT: the result is there. RUN: no receipt can fit, whatever the stages before it produce. MAYBE: it depends on
//! a stage that will run, and there is a receipt that would fit if that comes out as before.

use gazal_spec::{OutputRef, Pipeline, Stage};
use gazal_store::{Artifact, Digest, Receipt, Store, StoreError};
use serde::Serialize;

use crate::cause::{self, Cause};
use crate::history::History;
use crate::prepare::{self, Draft, Prepared};
use crate::{EngineError, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanState {
    Hit,
    Run,
    Maybe,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    pub name: String,
    pub kind: String,
    pub state: PlanState,
    /// `None` while an input is unknown.
    pub key: Option<Digest>,
    pub causes: Vec<Cause>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub stages: Vec<Planned>,
}

/// A plan with what a run goes on from.
pub(crate) struct Look {
    pub plan: Plan,
    pub prepared: Vec<Option<Prepared>>,
    /// Of the hits.
    pub receipts: Vec<Option<Receipt>>,
}

/// Plans the selected stages.
///
/// # Errors
/// [`EngineError::Wrong`] for files that are not there, [`EngineError::Store`] where the store cannot be read.
pub fn plan(pipeline: &Pipeline, options: &Options) -> Result<Plan, EngineError> {
    look(pipeline, options).map(|look| look.plan)
}

pub(crate) fn look(pipeline: &Pipeline, options: &Options) -> Result<Look, EngineError> {
    let prepared = prepare::prepare(pipeline, options)?;
    let history = History::new(&options.store, &options.file);
    let mut receipts: Vec<Option<Receipt>> = pipeline.stages.iter().map(|_| None).collect();
    let mut stages = Vec::with_capacity(options.selected.len());
    for &index in &options.selected {
        let (stage, Some(ready)) = (&pipeline.stages[index], &prepared[index]) else { continue };
        let draft = ready.draft(stage, &|from| produced(&receipts, from));
        let forced = options.force.contains(&index);
        let (planned, receipt) = plan_stage(stage, &draft, forced, &history)?;
        receipts[index] = receipt;
        stages.push(planned);
    }
    Ok(Look { plan: Plan { stages }, prepared, receipts })
}

fn plan_stage(
    stage: &Stage,
    draft: &Draft,
    forced: bool,
    history: &History,
) -> Result<(Planned, Option<Receipt>), EngineError> {
    let key = draft.is_complete().then(|| draft.manifest.key());
    let found = match &key {
        Some(key) if !forced => lookup(history.store, key)?,
        _ => Found::Nothing,
    };
    let planned =
        |state, causes| Planned { name: stage.name.clone(), kind: stage.kind.name().into(), state, key, causes };
    Ok(match found {
        Found::Hit(receipt) => (planned(PlanState::Hit, Vec::new()), Some(receipt)),
        Found::Lost => (planned(PlanState::Run, vec![Cause::lost_blob(stage)]), None),
        Found::Nothing if forced => (planned(PlanState::Run, vec![Cause::forced(stage)]), None),
        Found::Nothing => {
            let maybe = !draft.is_complete() && history.may_hit(draft);
            let state = if maybe { PlanState::Maybe } else { PlanState::Run };
            (planned(state, causes(stage, draft, history)), None)
        }
    })
}

/// Why a stage without a receipt must run.
pub(crate) fn causes(stage: &Stage, draft: &Draft, history: &History) -> Vec<Cause> {
    match history.nearest(&stage.name, draft) {
        Some(past) => cause::differences(stage, past, draft),
        None => vec![Cause::new(stage)],
    }
}

/// What the store has under a key.
pub(crate) enum Found {
    Hit(Receipt),
    /// A receipt whose outputs are no longer all there.
    Lost,
    Nothing,
}

/// A hit needs its receipt and all that it made.
pub(crate) fn lookup(store: &Store, key: &Digest) -> Result<Found, StoreError> {
    match store.hit(key)? {
        Some(receipt) => Ok(Found::Hit(receipt)),
        None if store.receipt(key)?.is_some() => Ok(Found::Lost),
        None => Ok(Found::Nothing),
    }
}

/// The artifact behind a reference, where its stage has a receipt.
pub fn produced(receipts: &[Option<Receipt>], from: &OutputRef) -> Option<Artifact> {
    let receipt = receipts.get(from.stage)?.as_ref()?;
    receipt.outputs.get(&from.output).map(|output| output.artifact)
}
