//! Everything of a stage's manifest that does not wait for its inputs, and the manifest with those that are there.

use std::collections::{BTreeMap, HashMap};

use gazal_spec::{OutputRef, Pipeline, Stage};
use gazal_stage_api::{DeviceRequest, Problem, Role, lookup};
use gazal_store::{Artifact, Digest, Made};
use serde_json::Value;

use crate::paths::{self, PathError};
use crate::protocol::{Request, Wanted};
use crate::{Compute, EngineError, FORMAT, Manifest, Mistake, Options, RemoteUse, SlurmNeeds, canonical_json};

/// What of a stage's manifest has to be looked for outside of the pipeline. The manifest itself is made anew for
/// each question: of a large pipeline all of them would take several times the memory of the pipeline.
pub(crate) struct Prepared {
    /// Path-typed parameters by the contents of what they point at.
    digests: Vec<(&'static str, Value)>,
    /// What its pins stand at, where that is known.
    pins: Vec<(String, Option<String>)>,
    pub device: DeviceRequest,
}

/// A manifest as far as it is known.
pub(crate) struct Draft {
    /// Without the fields in `unknown`.
    pub manifest: Manifest,
    /// Fields that wait for a stage: `inputs.model`, `service`; or for a run to ask: `pins.models/OWNER/NAME`.
    pub unknown: Vec<String>,
}

impl Draft {
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
    }

    pub fn is_unknown(&self, field: &str) -> bool {
        self.unknown.iter().any(|one| one == field)
    }

    /// `past` without what is unknown here: equal to the draft's manifest where it could be this action, whatever the
    /// unknown inputs turn out to be.
    pub fn likened(&self, past: &Manifest) -> Manifest {
        let mut known = past.clone();
        known.inputs.retain(|port, _| !self.is_unknown(&input_field(port)));
        known.pins.retain(|what, _| !self.is_unknown(&pin_field(what)));
        if self.is_unknown(SERVICE) {
            known.service = None;
        }
        known
    }
}

const SERVICE: &str = "service";
const DEEP: &str = "gazal-pipe 2026 deep key v1";

fn input_field(port: &str) -> String {
    format!("inputs.{port}")
}

fn pin_field(what: &str) -> String {
    format!("pins.{what}")
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
    let mut digests = Vec::new();
    for &name in stage.kind.traits().paths {
        let Some(value) = lookup(&stage.params, name).or_else(|| schemas.default_of(stage, name)) else { continue };
        match paths::resolve(&options.store, options.base(), &value) {
            Ok(found) if found.paths.is_empty() => {}
            Ok(found) => digests.push((name, found.digests)),
            Err(PathError::Store(error)) if error.is_unusable() => return Err(error.into()),
            Err(error) => return Ok(Err(mistake(stage, &format!("params.{name}"), error.to_string()))),
        }
    }
    let mut pins = Vec::new();
    for pin in stage.kind.pins(&stage.params) {
        match (options.pin)(&pin) {
            Ok(found) => pins.push((pin.what, found)),
            Err(why) => return Ok(Err(mistake(stage, "params", why))),
        }
    }
    Ok(Ok(Prepared { digests, pins, device: options.device(stage) }))
}

impl Prepared {
    /// The manifest, but for its inputs.
    fn manifest(&self, stage: &Stage) -> Result<Manifest, Problem> {
        let mut manifest = bare_manifest(stage, self.device)?;
        manifest.params.extend(self.digests.iter().map(|(name, digests)| (name.to_string(), digests.clone())));
        manifest.pins = self.pins.iter().filter_map(|(what, at)| Some((what.clone(), at.clone()?))).collect();
        Ok(manifest)
    }

    fn unpinned(&self) -> impl Iterator<Item = String> {
        self.pins.iter().filter(|(_, at)| at.is_none()).map(|(what, _)| pin_field(what))
    }

    /// Path-typed parameters as written, for the worker's second look at them.
    fn paths(&self, stage: &Stage) -> BTreeMap<String, Value> {
        let written = |name| lookup(&stage.params, name).or_else(|| default_of(stage, name));
        self.digests.iter().filter_map(|&(name, _)| Some((name.to_string(), written(name)?))).collect()
    }
}

/// The manifest of a stage as the pipeline alone says it: without inputs, path-typed parameters as written.
///
/// # Errors
/// A parameter that the kind does not take.
pub fn bare_manifest(stage: &Stage, device: DeviceRequest) -> Result<Manifest, Problem> {
    let traits = stage.kind.traits();
    Ok(Manifest {
        format: FORMAT,
        kind: stage.kind.name().into(),
        revision: stage.kind.revision(),
        params: stage.kind.canonical(&stage.params)?.into_iter().collect(),
        inputs: BTreeMap::new(),
        outputs: stage.outputs.iter().map(|port| (port.name.clone(), port.kind)).collect(),
        seed: traits.seeded.then_some(stage.seed),
        compute: traits.computes.then(|| Compute {
            backend: device.backend.class().into(),
            precision: device.precision.name().into(),
            numerics: traits.numerics.into(),
        }),
        pins: BTreeMap::new(),
        service: None,
    })
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
            return Some(place);
        }
        name = name.rsplit_once('.')?.0;
        if name == "params" || name == "inputs" {
            return None;
        }
    }
}

/// A pipeline with what is known of its stages.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub pipeline: &'a Pipeline,
    pub prepared: &'a [Option<Prepared>],
    /// What the stages made whose outputs are known.
    pub made: &'a [Option<Made>],
}

impl Known<'_> {
    /// The artifact behind a reference, where its stage has made something.
    pub fn produced(&self, from: &OutputRef) -> Option<Artifact> {
        produced(self.made, from)
    }

    /// The manifest of a stage with the inputs that are there; `None` for a stage that is not selected or
    /// [mistaken](Known::try_draft).
    pub fn draft(&self, index: usize) -> Option<Draft> {
        self.try_draft(index).ok().flatten()
    }

    /// The same.
    ///
    /// # Errors
    /// A parameter that the kind does not take.
    pub fn try_draft(&self, index: usize) -> Result<Option<Draft>, Problem> {
        let stage = &self.pipeline.stages[index];
        let Some(prepared) = &self.prepared[index] else { return Ok(None) };
        let mut draft = Draft { manifest: prepared.manifest(stage)?, unknown: prepared.unpinned().collect() };
        for input in stage.inputs.iter().filter(|input| !input.from.is_empty()) {
            let digests: Option<Vec<Digest>> =
                input.from.iter().map(|from| self.produced(from).map(|artifact| artifact.content)).collect();
            match digests {
                Some(digests) => drop(draft.manifest.inputs.insert(input.port.clone(), digests)),
                None => draft.unknown.push(input_field(&input.port)),
            }
        }
        if let Some(service) = stage.service {
            let Some(served_by) = self.try_draft(service)? else { return Ok(None) };
            match served_by.is_complete() {
                true => draft.manifest.service = Some(served_by.manifest.key()),
                false => draft.unknown.push(SERVICE.into()),
            }
        }
        Ok(Some(draft))
    }

    /// What a worker needs to make `manifest`, on the device that its kind is given.
    pub fn request(&self, index: usize, manifest: Manifest, options: &Options) -> Option<Request> {
        let (stage, prepared) = (&self.pipeline.stages[index], self.prepared[index].as_ref()?);
        let artifacts = |from: &Vec<OutputRef>| from.iter().filter_map(|from| self.produced(from)).collect();
        let service = match stage.service {
            Some(service) => Some(Box::new(self.request(service, self.draft(service)?.manifest, options)?)),
            None => None,
        };
        Some(Request {
            store: options.store.root().to_path_buf(),
            manifest,
            params: stage.params.as_ref().clone(),
            inputs: stage.inputs.iter().map(|input| (input.port.clone(), artifacts(&input.from))).collect(),
            outputs: stage.outputs.iter().map(Wanted::new).collect(),
            seed: if stage.kind.traits().seeded { stage.seed } else { 0 },
            device: prepared.device,
            gpus: Vec::new(),
            paths: prepared.paths(stage),
            base: options.base().to_path_buf(),
            threads: options.cpus(stage),
            log: Default::default(),
            remote: RemoteUse::of(&options.store),
            service,
            force: false,
            programs: stage.kind.traits().programs,
            slurm: SlurmNeeds::of(stage, stage.policy.timeout),
        })
    }

    /// The deep keys of all prepared stages: as the action key, with the deep keys of producers instead of what they
    /// have produced.
    pub fn deep_keys(&self) -> Vec<Option<Digest>> {
        let mut keys: Vec<Option<Digest>> = Vec::with_capacity(self.prepared.len());
        for index in 0..self.prepared.len() {
            keys.push(self.deep_key(index, &keys));
        }
        keys
    }

    /// `before` holds the deep keys of the stages before this one.
    fn deep_key(&self, index: usize, before: &[Option<Digest>]) -> Option<Digest> {
        let stage = &self.pipeline.stages[index];
        let prepared = self.prepared[index].as_ref().filter(|prepared| prepared.unpinned().next().is_none())?;
        let mut manifest = prepared.manifest(stage).ok()?;
        for input in stage.inputs.iter().filter(|input| !input.from.is_empty()) {
            let producer = |from: &OutputRef| {
                before[from.stage].map(|deep| Digest::derive(DEEP, format!("{deep} {}", from.output)))
            };
            let digests: Option<Vec<Digest>> = input.from.iter().map(producer).collect();
            manifest.inputs.insert(input.port.clone(), digests?);
        }
        if let Some(service) = stage.service {
            manifest.service = Some(before[service]?);
        }
        Some(Digest::derive(DEEP, canonical_json(&manifest.to_value())))
    }
}

/// The artifact behind a reference, where its stage has made something.
fn produced(made: &[Option<Made>], from: &OutputRef) -> Option<Artifact> {
    made.get(from.stage)?.as_ref()?.output(&from.output).map(|output| output.artifact)
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Value => "value",
        Role::Record => "record",
    }
}
