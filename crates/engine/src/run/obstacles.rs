//! What would make a stage that must run fail for certain, said before anything runs.

use gazal_spec::{Executor, Pipeline, Stage};

use crate::history::History;
use crate::plan::Look;
use crate::prepare::mistake;
use crate::resources::Demand;
use crate::{Mistake, Options};

/// All of them, at once.
pub(super) fn obstacles(pipeline: &Pipeline, options: &Options, look: &Look) -> Vec<Mistake> {
    let history = History::new(&options.store, &options.file);
    let mut found = Vec::new();
    for &index in &options.selected {
        let other = options.single && !options.targets.contains(&index);
        if other && !look.is_done(index) && !look.is_spare(index) {
            let message = "it would have to run first, and `--single` runs nothing but the named stages";
            found.push(mistake(&pipeline.stages[index], "", message));
        } else if look.must_run(index, pipeline, &history) {
            found.extend(obstacle(pipeline, options, look, index));
        }
    }
    found
}

/// What stands in the way of one stage.
pub(super) fn obstacle(pipeline: &Pipeline, options: &Options, look: &Look, index: usize) -> Option<Mistake> {
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
pub(super) fn is_local(stage: &Stage) -> bool {
    *stage.executor == Executor::Local
}
