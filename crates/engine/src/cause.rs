//! Why a stage must run: where its manifest differs from the nearest past one.

use gazal_spec::{Place, Stage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Manifest;
use crate::prepare::{Draft, default_of, place_of};

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// A manifest's field (`params.beta`, `inputs.model`, `seed`, `backend`), or one of `new`, `forced`, `lost_blob`.
    pub field: String,
    pub was: Option<Value>,
    /// `None` for an input that is still to be made.
    pub now: Option<Value>,
    pub place: Option<Place>,
}

impl Cause {
    fn at(stage: &Stage, field: &str, was: Option<Value>, now: Option<Value>) -> Cause {
        Cause { field: field.into(), was, now, place: place_of(stage, field) }
    }

    /// Nothing like it was ever run.
    pub(crate) fn new(stage: &Stage) -> Cause {
        Cause { place: stage.places.get(""), ..Cause::at(stage, "new", None, None) }
    }

    pub(crate) fn forced(stage: &Stage) -> Cause {
        Cause::at(stage, "forced", None, None)
    }

    /// The receipt is there, what it promises is not.
    pub(crate) fn lost_blob(stage: &Stage) -> Cause {
        Cause::at(stage, "lost_blob", None, None)
    }
}

/// The differences between a past manifest and what is known of the present one.
pub(crate) fn differences(stage: &Stage, past: &Manifest, draft: &Draft) -> Vec<Cause> {
    let (was, now) = (past.fields(), draft.manifest.fields());
    if was.get("kind") != now.get("kind") {
        return vec![Cause::at(stage, "kind", was.get("kind").cloned(), now.get("kind").cloned())];
    }
    let mut names: Vec<&String> = was.keys().chain(now.keys().filter(|name| !was.contains_key(*name))).collect();
    names.sort();
    let mut causes: Vec<Cause> = names
        .into_iter()
        .filter(|name| !draft.is_unknown(name) && was.get(*name) != now.get(*name))
        .map(|name| {
            let value = |side: Option<&Value>| side.cloned().or_else(|| default(stage, name));
            Cause::at(stage, name, value(was.get(name)), value(now.get(name)))
        })
        .collect();
    causes.extend(draft.unknown.iter().map(|name| Cause::at(stage, name, was.get(name).cloned(), None)));
    causes
}

/// A parameter that a manifest leaves out is at its default.
fn default(stage: &Stage, field: &str) -> Option<Value> {
    default_of(stage, field.strip_prefix("params.")?)
}
