//! Everything of a stage's manifest that does not wait for its inputs.

use std::collections::{BTreeMap, HashMap};

use gazal_spec::{OutputRef, Pipeline, Stage};
use gazal_stage_api::{DeviceRequest, Role};
use gazal_store::{Artifact, Digest};
use serde_json::Value;

use crate::paths::{self, PathError};
use crate::protocol::{Request, Wanted};
use crate::{Compute, EngineError, FORMAT, Manifest, Mistake, Options, SlurmNeeds};

/// A stage whose manifest lacks nothing but inputs.
pub(crate) struct Prepared {
    /// `inputs` is empty.
    manifest: Manifest,
    /// Path-typed parameters as written, for the worker's second look at them.
    paths: BTreeMap<String, Value>,
    pub device: DeviceRequest,
}

/// A manifest as far as it is known.
pub(crate) struct Draft {
    /// Without the ports in `unknown`.
    pub manifest: Manifest,
    /// Ports that wait for a stage.
    pub unknown: Vec<String>,
}

impl Draft {
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
    }

    /// Whether `past` could be this action, whatever the unknown inputs turn out to be.
    pub fn allows(&self, past: &Manifest) -> bool {
        let mut known = past.clone();
        known.inputs.retain(|port, _| !self.unknown.contains(port));
        known == self.manifest
    }
}

/// Prepares the selected stages; all mistakes at once.
pub(crate) fn prepare(pipeline: &Pipeline, options: &Options) -> Result<Vec<Option<Prepared>>, EngineError> {
    let mut prepared: Vec<Option<Prepared>> = pipeline.stages.iter().map(|_| None).collect();
    let mut mistakes = Vec::new();
    let mut schemas = Schemas::default();
    for &index in &options.selected {
        match prepare_stage(&pipeline.stages[index], options, &mut schemas)? {
            Ok(stage) => prepared[index] = Some(stage),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(prepared) } else { Err(EngineError::Wrong(mistakes)) }
}

fn prepare_stage(
    stage: &Stage,
    options: &Options,
    schemas: &mut Schemas,
) -> Result<Result<Prepared, Mistake>, EngineError> {
    let traits = stage.kind.traits();
    let canonical = match stage.kind.canonical(&stage.params) {
        Ok(canonical) => canonical,
        Err(problem) => return Ok(Err(mistake(stage, &format!("params.{}", problem.field), problem.message))),
    };
    let mut params: BTreeMap<String, Value> = canonical.into_iter().collect();
    let mut raw = BTreeMap::new();
    for &name in traits.paths {
        let Some(value) = stage.params.get(name).cloned().or_else(|| schemas.default_of(stage, name)) else { continue };
        match paths::resolve(&options.store, options.base(), &value) {
            Ok(found) if found.paths.is_empty() => continue,
            Ok(found) => drop(params.insert(name.to_string(), found.digests)),
            Err(PathError::Store(error)) if error.is_unusable() => return Err(error.into()),
            Err(error) => return Ok(Err(mistake(stage, &format!("params.{name}"), error.to_string()))),
        }
        raw.insert(name.to_string(), value);
    }
    let device = options.device(stage);
    let manifest = Manifest {
        format: FORMAT,
        kind: stage.kind.name().into(),
        revision: stage.kind.revision(),
        params,
        inputs: BTreeMap::new(),
        outputs: stage.outputs.iter().map(|port| (port.name.clone(), port.kind)).collect(),
        seed: traits.seeded.then_some(stage.seed),
        compute: traits.computes.then(|| Compute {
            backend: device.backend.class().into(),
            precision: device.precision.name().into(),
            numerics: traits.numerics.into(),
        }),
    };
    Ok(Ok(Prepared { manifest, paths: raw, device }))
}

/// The schemas of kinds, each made once: a pipeline has many stages of few kinds.
#[derive(Default)]
struct Schemas(HashMap<&'static str, Value>);

impl Schemas {
    fn default_of(&mut self, stage: &Stage, name: &str) -> Option<Value> {
        let schema = self.0.entry(stage.kind.name()).or_insert_with(|| stage.kind.schema());
        default_in(schema, name)
    }
}

/// The default of a parameter, from its kind's schema.
pub(crate) fn default_of(stage: &Stage, name: &str) -> Option<Value> {
    default_in(&stage.kind.schema(), name)
}

fn default_in(schema: &Value, name: &str) -> Option<Value> {
    schema.get("properties")?.get(name)?.get("default").cloned()
}

/// A mistake at a field of a stage, with its place where the file has one.
pub(crate) fn mistake(stage: &Stage, field: &str, message: impl Into<String>) -> Mistake {
    Mistake {
        stage: stage.name.clone(),
        field: field.into(),
        message: message.into(),
        help: None,
        place: place_of(stage, field),
    }
}

/// Where a field, or the nearest table around it, was written.
pub(crate) fn place_of(stage: &Stage, field: &str) -> Option<gazal_spec::Place> {
    let mut name = field;
    loop {
        if let Some(place) = stage.places.get(name) {
            return Some(place.clone());
        }
        name = name.rsplit_once('.')?.0;
        if name == "params" || name == "inputs" {
            return None;
        }
    }
}

impl Prepared {
    /// Fills in the inputs that are there; `produced` gives an output's artifact.
    pub fn draft(&self, stage: &Stage, produced: &dyn Fn(&OutputRef) -> Option<Artifact>) -> Draft {
        let mut draft = Draft { manifest: self.manifest.clone(), unknown: Vec::new() };
        for input in stage.inputs.iter().filter(|input| !input.from.is_empty()) {
            let digests: Option<Vec<Digest>> =
                input.from.iter().map(|from| produced(from).map(|artifact| artifact.content)).collect();
            match digests {
                Some(digests) => drop(draft.manifest.inputs.insert(input.port.clone(), digests)),
                None => draft.unknown.push(input.port.clone()),
            }
        }
        draft
    }

    /// What a worker needs to make `manifest`.
    pub fn request(
        &self,
        stage: &Stage,
        options: &Options,
        manifest: Manifest,
        produced: &dyn Fn(&OutputRef) -> Option<Artifact>,
    ) -> Request {
        let artifacts = |from: &Vec<OutputRef>| from.iter().filter_map(produced).collect();
        Request {
            store: options.store.root().to_path_buf(),
            manifest,
            params: stage.params.clone(),
            inputs: stage.inputs.iter().map(|input| (input.port.clone(), artifacts(&input.from))).collect(),
            outputs: stage.outputs.iter().map(Wanted::new).collect(),
            seed: if stage.kind.traits().seeded { stage.seed } else { 0 },
            device: self.device,
            paths: self.paths.clone(),
            base: options.base().to_path_buf(),
            threads: options.cpus(stage),
            force: false,
            slurm: SlurmNeeds::of(stage, None),
        }
    }
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Value => "value",
        Role::Record => "record",
    }
}
