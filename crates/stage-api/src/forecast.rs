//! What a stage will take and make, as its kind foresees it before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Precision;

/// What an execution will take and make; what a kind cannot tell is left out.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// How much there is to do, in a measure of the kind's own: twice as much takes about twice as long.
    pub work: Option<f64>,
    /// The most memory, at least, in bytes.
    pub peak_bytes: Option<u64>,
    /// What it asks of others.
    pub asks: Option<Asks>,
    /// By their names.
    pub outputs: BTreeMap<String, Foreseen>,
}

/// Questions to a model behind an endpoint, at most: what the memo knows is not asked again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asks {
    pub requests: u64,
    /// Read, as far as their length is known, and written.
    pub tokens: u64,
    /// In the currency of the price, where there is one.
    pub cost: Option<f64>,
    /// What may be spent.
    pub max_cost: Option<f64>,
    /// That they take at least, by the rate that is allowed.
    pub seconds: Option<f64>,
}

impl Asks {
    /// Both, one beside the other; a cost that is not known of one is not known of both.
    #[must_use]
    pub fn and(self, other: Asks) -> Asks {
        let sum = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one + other);
        Asks {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            cost: sum(self.cost, other.cost),
            max_cost: sum(self.max_cost, other.max_cost),
            seconds: self.seconds.into_iter().chain(other.seconds).reduce(f64::max),
        }
    }
}

/// An artifact that is there, or will be.
#[derive(Clone)]
pub struct Foreseen {
    /// Of its files, where that is known.
    pub bytes: Option<u64>,
    facts: Arc<Facts>,
}

/// From the name of a JSON file to what it says.
type Facts = dyn Fn(&str) -> Option<Value>;

impl Foreseen {
    /// The fact that is the number of a data set's rows in its split `train`.
    pub const ROWS: &str = "rows";

    /// One that will be made: the contents that its small JSON files will have, by their names without `.json`. A
    /// reader of it may be told things that no file says: a tokenizer's `vocab_size`, the number of a data set's
    /// [`rows`](Foreseen::ROWS).
    pub fn made(bytes: Option<u64>, facts: Map<String, Value>) -> Foreseen {
        Foreseen { bytes, facts: Arc::new(move |name| facts.get(name).cloned()) }
    }

    /// One that is there, whose JSON files `read` reads.
    pub fn there(bytes: Option<u64>, read: impl Fn(&str) -> Option<Value> + 'static) -> Foreseen {
        Foreseen { bytes, facts: Arc::new(read) }
    }

    /// What its JSON file of this name says.
    pub fn fact(&self, name: &str) -> Option<Value> {
        (self.facts)(name)
    }
}

impl fmt::Debug for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreseen").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What is known of a stage before it runs, besides its parameters.
#[derive(Clone, Debug, Default)]
pub struct Foresight {
    /// By port, as far as anything is known of them.
    pub inputs: BTreeMap<String, Vec<Foreseen>>,
    pub precision: Precision,
}

impl Foresight {
    /// What the JSON file `name` of the first artifact at `port` says.
    pub fn fact(&self, port: &str, name: &str) -> Option<Value> {
        self.inputs.get(port)?.first()?.fact(name)
    }
}
