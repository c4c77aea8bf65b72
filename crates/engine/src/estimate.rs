//! What a stage will take, from what it took.

use gazal_spec::Stage;
use serde::{Deserialize, Serialize};

use crate::history::{Deed, History};
use crate::prepare::Draft;

/// Time, disk and memory of a stage that will run, as its nearest past action took them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub seconds: f64,
    /// Of its outputs.
    pub bytes: u64,
    pub peak_bytes: Option<u64>,
    /// Whether the past action had the same parameters.
    pub same_params: bool,
}

impl Estimate {
    /// `None` where no action of its kind is remembered.
    pub(crate) fn of(stage: &Stage, draft: &Draft, history: &History) -> Option<Estimate> {
        let Deed { manifest, receipt } = history.nearest(&stage.name, draft)?;
        let sizes = receipt.outputs.values().filter_map(|output| history.store.tree(&output.artifact).ok());
        Some(Estimate {
            seconds: receipt.seconds,
            bytes: sizes.map(|tree| tree.size()).sum(),
            peak_bytes: receipt.peak_bytes,
            same_params: manifest.params == draft.manifest.params,
        })
    }
}
