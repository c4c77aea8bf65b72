//! What a stage will take: from what it took, and from what its kind foresees.

use std::collections::BTreeMap;

use gazal_spec::{OutputRef, Pipeline, Stage};
use gazal_stage_api::{Asks, Forecast, Foreseen, Foresight};
use gazal_store::{Artifact, Digest, Made, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::{Deed, History};
use crate::prepare::Draft;

/// Time, disk and memory of a stage that will run; what nobody knows is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// What the past action took, times how much more there is to do now where the kind can tell.
    pub seconds: Option<f64>,
    /// Of its outputs: as the kind foresees them, else as the past action made them.
    pub bytes: Option<u64>,
    /// Of the past action, or what the kind foresees at least, if that is more.
    pub peak_bytes: Option<u64>,
    /// As the kind foresees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Asks>,
    pub past: Option<Past>,
}

/// The past action nearest to what will run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Causes are its differences.
    pub key: Digest,
    /// Whether it had the same parameters.
    pub same_params: bool,
    /// When it ended, RFC 3339 in UTC.
    pub finished: String,
}

impl Estimate {
    /// `None` where neither the kind nor the past says anything.
    pub(crate) fn of(stage: &Stage, draft: &Draft, forecast: &Forecast, history: &History) -> Option<Estimate> {
        let past = history.nearest(&stage.name, draft);
        let sizes: BTreeMap<&String, u64> = past.map(|past| sizes(past, history.store)).unwrap_or_default();
        let bytes = stage.outputs.iter().map(|output| {
            let foreseen = forecast.outputs.get(&output.name).and_then(|output| output.bytes);
            foreseen.or_else(|| sizes.get(&output.name).copied())
        });
        let estimate = Estimate {
            seconds: past.map(|past| past.receipt.seconds * growth(stage, past, forecast)),
            bytes: bytes.flatten().reduce(|sum, bytes| sum.saturating_add(bytes)),
            peak_bytes: past.and_then(|past| past.receipt.peak_bytes).max(forecast.peak_bytes),
            asks: forecast.asks,
            past: past.map(|past| Past {
                key: past.manifest.key(),
                same_params: past.manifest.params == draft.manifest.params,
                finished: past.receipt.finished.clone(),
            }),
        };
        let Estimate { seconds, bytes, peak_bytes, asks, past } = &estimate;
        let says_something =
            seconds.is_some() || bytes.is_some() || peak_bytes.is_some() || asks.is_some() || past.is_some();
        says_something.then_some(estimate)
    }
}

fn sizes<'a>(past: &'a Deed, store: &Store) -> BTreeMap<&'a String, u64> {
    let size = |artifact: &Artifact| store.tree(artifact).ok().map(|tree| tree.size());
    let outputs = past.receipt.outputs.iter();
    outputs.filter_map(|(name, output)| Some((name, size(&output.artifact)?))).collect()
}

/// How many times as much there is to do as in the past; 1 where the kind cannot tell.
fn growth(stage: &Stage, past: &Deed, forecast: &Forecast) -> f64 {
    let params = past.manifest.params.clone().into_iter().collect();
    let before = stage.kind.forecast(&params, &Foresight::default()).work;
    match (forecast.work, before) {
        (Some(now), Some(before)) if now > 0.0 && before > 0.0 => now / before,
        _ => 1.0,
    }
}

/// What the kinds foresee of stages that are not done, each told what those before it will make.
pub(crate) struct Forecasts<'a> {
    pipeline: &'a Pipeline,
    store: &'a Store,
    made: &'a [Option<Made>],
    /// By stage.
    of: BTreeMap<usize, Forecast>,
}

impl<'a> Forecasts<'a> {
    pub fn new(pipeline: &'a Pipeline, store: &'a Store, made: &'a [Option<Made>]) -> Forecasts<'a> {
        Forecasts { pipeline, store, made, of: BTreeMap::new() }
    }

    /// Of a stage; those that it reads and that will run have been asked for before.
    pub fn of(&mut self, index: usize) -> &Forecast {
        let stage = &self.pipeline.stages[index];
        let foresee = |input: &gazal_spec::Input| {
            let artifacts = input.from.iter().filter_map(|from| self.foreseen(from)).collect();
            (input.port.clone(), artifacts)
        };
        let inputs = stage.inputs.iter().map(foresee).collect();
        let foresight = Foresight { inputs, precision: stage.precision };
        self.of.entry(index).insert_entry(stage.kind.forecast(&stage.params, &foresight)).into_mut()
    }

    fn foreseen(&self, from: &OutputRef) -> Option<Foreseen> {
        let Some(made) = &self.made[from.stage] else {
            return self.of.get(&from.stage)?.outputs.get(&from.output).cloned();
        };
        let artifact = made.output(&from.output)?.artifact;
        let store = self.store.clone();
        let size = store.tree(&artifact).ok().map(|tree| tree.size());
        Some(Foreseen::there(size, move |name| {
            if name == Foreseen::ROWS {
                return (size? <= COUNTED).then(|| rows(&store, &artifact)).flatten().map(Value::from);
            }
            let text = store.read_file(&artifact, &format!("{name}.json")).ok()??;
            serde_json::from_slice(&text).ok()
        }))
    }
}

/// The largest data set whose rows are counted for a plan.
const COUNTED: u64 = 256 << 20;

/// The lines of a data set's training split, where it is one file of JSON Lines.
fn rows(store: &Store, artifact: &Artifact) -> Option<usize> {
    let text = store.read_file(artifact, "train.jsonl").ok()??;
    Some(text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count())
}
