//! The action manifest: everything that a stage's result depends on, in one struct.
//!
//! It is hashed for the key, stored in the receipt and compared for explanations, so that the three cannot
//! drift apart. What is not in it (paths, host, threads, the stage's name) cannot change a result.

use std::collections::BTreeMap;

use gazal_stage_api::PortType;
use gazal_store::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Raised when the meaning of a field changes.
pub const FORMAT: u32 = 1;
const CONTEXT: &str = "gazal-pipe 2026 action key v1";

/// One concrete execution of a stage kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub kind: String,
    pub revision: u32,
    /// Canonical: defaults left out, path-typed ones replaced by the digests of what they point at.
    pub params: BTreeMap<String, Value>,
    /// Content digests, in the order of the pipeline.
    pub inputs: BTreeMap<String, Vec<Digest>>,
    pub outputs: BTreeMap<String, PortType>,
    /// For kinds that declare one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// For kinds that compute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// What moves outside, and what it was pinned to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, String>,
    /// The action key of the stage that serves this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Digest>,
}

/// What the numbers of a computing kind depend on besides its inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    /// `cpu`, `wgpu` or `cuda`; never an index.
    pub backend: String,
    pub precision: String,
    /// The kind's tag, with the version of the framework below it.
    pub numerics: String,
}

impl Manifest {
    /// The action key.
    pub fn key(&self) -> Digest {
        Digest::derive(CONTEXT, self.canonical())
    }

    /// [`canonical_json`] of the whole, without a copy of it: a plan makes a key for every stage.
    fn canonical(&self) -> String {
        fn part(text: &mut String, name: &str, value: &impl Serialize) {
            let separator = if text.len() > 1 { "," } else { "" };
            let value = serde_json::to_string(value).unwrap_or_default();
            *text += &format!("{separator}\"{name}\":{value}");
        }
        let mut text = String::from("{");
        if let Some(Compute { backend, precision, numerics }) = &self.compute {
            let sorted = BTreeMap::from([("backend", backend), ("numerics", numerics), ("precision", precision)]);
            part(&mut text, "compute", &sorted);
        }
        part(&mut text, "format", &self.format);
        part(&mut text, "inputs", &self.inputs);
        part(&mut text, "kind", &self.kind);
        part(&mut text, "outputs", &self.outputs);
        let sorted: BTreeMap<&String, Value> = self.params.iter().map(|(name, value)| (name, sorted(value))).collect();
        part(&mut text, "params", &sorted);
        if !self.pins.is_empty() {
            part(&mut text, "pins", &self.pins);
        }
        part(&mut text, "revision", &self.revision);
        self.seed.iter().for_each(|seed| part(&mut text, "seed", seed));
        self.service.iter().for_each(|service| part(&mut text, "service", service));
        text + "}"
    }

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Reads the manifest out of a receipt; `None` for a format that this program does not know.
    pub fn from_value(value: &Value) -> Option<Manifest> {
        serde_json::from_value(value.clone()).ok().filter(|manifest: &Manifest| manifest.format == FORMAT)
    }

    /// Dotted names and values, as explanations show them: `params.beta`, `inputs.model`, `backend`, `seed`.
    pub fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::new();
        if let Value::Object(table) = self.to_value() {
            for (name, value) in table {
                flatten(if name == "compute" { "" } else { &name }, value, &mut fields);
            }
        }
        fields
    }
}

/// Puts every scalar and list of nested tables under its dotted name.
pub(crate) fn flatten(name: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (inner, value) in table {
                let dotted = if name.is_empty() { inner } else { format!("{name}.{inner}") };
                flatten(&dotted, value, into);
            }
        }
        value => {
            into.insert(name.to_string(), value);
        }
    }
}

/// JSON with sorted keys and no spaces: equal values, equal bytes.
pub fn canonical_json(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(table) => {
            let ordered: BTreeMap<&String, Value> = table.iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(name, value)| (name.clone(), value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            kind: "toy".into(),
            revision: 1,
            params: BTreeMap::from([("rate".into(), json!(0.5)), ("nested".into(), json!({"b": 1, "a": [1, 2]}))]),
            inputs: BTreeMap::from([("model".into(), vec![Digest::of(b"model")])]),
            outputs: BTreeMap::from([("out".into(), PortType::Files)]),
            seed: Some(7),
            compute: None,
            pins: BTreeMap::new(),
            service: None,
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let (a, b) = (
            json!({"a": {"x": 1, "y": 2}, "b": [{"p": 1, "q": 2}]}),
            json!({"b": [{"q": 2, "p": 1}], "a": {"y": 2, "x": 1}}),
        );
        assert_eq!(canonical_json(&a), canonical_json(&b));
    }

    #[test]
    fn a_golden_key() {
        assert_eq!(manifest().key().to_string(), "96305ab8b052d1bfbb40230abe7d02ea4a4fe6f8baf54743f24239aa5dccfae4");
    }

    #[test]
    fn the_quick_way_to_the_text_is_the_same() {
        let compute = Compute { backend: "cpu".into(), precision: "f32".into(), numerics: "n".into() };
        let pins = BTreeMap::from([("models/o/m".into(), "0".into())]);
        let whole = Manifest { compute: Some(compute), pins, service: Some(Digest::of(b"s")), ..manifest() };
        for manifest in [manifest(), whole, Manifest { seed: None, ..manifest() }] {
            assert_eq!(manifest.canonical(), canonical_json(&manifest.to_value()));
        }
    }

    #[test]
    fn every_field_enters_the_key() {
        let base = manifest().key();
        let changes: [fn(&mut Manifest); 8] = [
            |m| m.kind = "other".into(),
            |m| m.revision = 2,
            |m| drop(m.params.remove("rate")),
            |m| m.inputs.get_mut("model").unwrap().push(Digest::of(b"model")),
            |m| m.outputs = BTreeMap::from([("out".into(), PortType::Dataset)]),
            |m| m.seed = None,
            |m| m.service = Some(Digest::of(b"judge")),
            |m| m.compute = Some(Compute { backend: "cpu".into(), precision: "f32".into(), numerics: String::new() }),
        ];
        for change in changes {
            let mut changed = manifest();
            change(&mut changed);
            assert_ne!(changed.key(), base, "{changed:?}");
        }
    }

    #[test]
    fn it_survives_its_receipt() {
        let manifest = manifest();
        assert_eq!(Manifest::from_value(&manifest.to_value()), Some(manifest));
    }

    #[test]
    fn fields_are_dotted() {
        let names: Vec<String> = manifest().fields().into_keys().collect();
        let expected = [
            "format",
            "inputs.model",
            "kind",
            "outputs.out",
            "params.nested.a",
            "params.nested.b",
            "params.rate",
            "revision",
            "seed",
        ];
        assert_eq!(names, expected);
    }
}
