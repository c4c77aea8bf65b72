//! The merge itself, tensor by tensor, each read and written in blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gazal_data::{Quick, Stream};
use gazal_lm::weights::{MAX_SHARD_SIZE, ModelWriter, Planned, Weights};
use gazal_merge::{
    Inputs, Member, ModelTensors, Numbers, Plan, PlannedTensor, Recipe, Source, Vocabulary, Write, merge, plan,
};
use gazal_stage_api::{Context, StageError};
use serde_json::{Value, json};

use super::Params;
use super::files::{self, Layout};

/// A model with what is asked of it.
struct Model<'a> {
    name: &'a str,
    folder: &'a Path,
    weights: Weights,
    layout: Layout,
}

pub fn run(params: &Params, context: &mut Context) -> Result<(), StageError> {
    let recipe = params.recipe(context)?;
    let folders = context.inputs("models").to_vec();
    let models = open(params, &recipe, &folders)?;
    let vocabulary = vocabulary(&recipe, &models)?;
    let tensors: Vec<ModelTensors> = models.iter().map(Model::tensors).collect();
    let plan = plan(&recipe, &tensors, vocabulary.as_ref().map(Vocabulary::len)).map_err(StageError::failed)?;
    let base = find(&models, &recipe.base)?;

    let output = context.output("model")?.to_path_buf();
    files::write(&output, base.folder, &recipe, &models_by_name(&models), (&plan, vocabulary.as_ref()))?;
    let precision = files::precision(&recipe, base.folder)?;
    let planned: Vec<Planned> = plan.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    let mut writer = ModelWriter::create(&output, &planned, precision, MAX_SHARD_SIZE).map_err(StageError::failed)?;
    let mut change = Change::default();
    for (done, tensor) in plan.tensors.iter().enumerate() {
        if context.cancelled() {
            return Err(StageError::Cancelled);
        }
        let (place, compared) = (writer.place(&tensor.name).map_err(StageError::failed)?, Compared::new(base, tensor));
        merge_one(tensor, &models, (vocabulary.as_ref(), context.seed), &|start, merged| {
            compared.add(start, merged)?;
            place.write(start, merged).map_err(|error| error.to_string())
        })?;
        change.add(&compared);
        context.progress(done as u64 + 1, plan.tensors.len() as u64, "tensors", &[]);
    }
    writer.finish().map_err(StageError::failed)?;
    write_metrics(context, &plan, &change)
}

fn open<'a>(
    params: &'a Params,
    recipe: &'a Recipe,
    folders: &'a [std::path::PathBuf],
) -> Result<Vec<Model<'a>>, StageError> {
    let called = params.called(recipe);
    if called.len() != folders.len() {
        let message = format!(
            "{} models are at the port `models`, and {} are named: {}",
            folders.len(),
            called.len(),
            called.join(", ")
        );
        return Err(StageError::Params("names".into(), message));
    }
    let open = |(name, folder): (&'a str, &'a std::path::PathBuf)| {
        let weights = Weights::load_model(folder).map_err(StageError::failed)?;
        Ok(Model { name, folder, weights, layout: Layout::read(folder)? })
    };
    called.into_iter().zip(folders).map(open).collect()
}

impl Model<'_> {
    fn tensors(&self) -> ModelTensors {
        let shape = |name: &str| (name.to_string(), self.weights.shape(name).unwrap_or_default().to_vec());
        let names = self.weights.names().filter(|name| !name.ends_with(".rotary_emb.inv_freq"));
        ModelTensors { name: self.name.into(), layers: self.layout.layers, tensors: names.map(shape).collect() }
    }
}

fn models_by_name<'a>(models: &[Model<'a>]) -> BTreeMap<&'a str, &'a Path> {
    models.iter().map(|model| (model.name, model.folder)).collect()
}

fn find<'a, 'b>(models: &'b [Model<'a>], name: &str) -> Result<&'b Model<'a>, StageError> {
    let found = models.iter().find(|model| model.name == name);
    found.ok_or_else(|| StageError::failed(format!("there is no model `{name}`")))
}

/// The common vocabulary, where the recipe asks for one.
fn vocabulary(recipe: &Recipe, models: &[Model]) -> Result<Option<Vocabulary>, StageError> {
    let Some(source) = &recipe.tokenizer else { return Ok(None) };
    let wanted = recipe.models();
    let mut tokenizers: Vec<(&str, Value, usize)> = Vec::new();
    for model in models.iter().filter(|model| wanted.contains(&model.name)) {
        let tokenizer = files::json(&model.folder.join("tokenizer.json"))?;
        tokenizers.push((model.name, tokenizer, model.layout.vocab_size));
    }
    let members: Vec<Member> =
        tokenizers.iter().map(|(model, tokenizer, rows)| Member { model, tokenizer, rows: *rows }).collect();
    Vocabulary::new(source, &recipe.base, &members).map(Some).map_err(StageError::failed)
}

/// One tensor of a model, read in blocks.
struct InFile<'a> {
    weights: &'a Weights,
    name: &'a str,
    length: usize,
}

impl Numbers for InFile<'_> {
    fn len(&self) -> usize {
        self.length
    }

    fn read(&self, start: usize, into: &mut [f32]) -> Result<(), String> {
        self.weights.read_at(self.name, start, into).map_err(|error| error.to_string())
    }
}

/// One tensor of the result.
fn merge_one(
    tensor: &PlannedTensor,
    models: &[Model],
    (vocabulary, seed): (Option<&Vocabulary>, u64),
    write: Write,
) -> Result<(), StageError> {
    let stream = Stream::new(seed, &format!("merge {}", tensor.name));
    let numbers: Vec<Quick> = (0..tensor.sources.len() as u64).map(|source| stream.quick(0, source)).collect();
    let uniform = |source: usize, index: u64| numbers[source].uniform(index);
    let (base, sources) = match vocabulary.filter(|_| tensor.vocabulary) {
        Some(vocabulary) => in_order(tensor, vocabulary, models)?,
        None => in_files(tensor, models)?,
    };
    let inputs = Inputs { base: base.as_deref(), sources: sources.iter().map(AsRef::as_ref).collect() };
    merge(tensor, &inputs, &uniform, write).map_err(StageError::failed)
}

/// Numbers of the base and of the sources.
type Tables<'a> = (Option<Box<dyn Numbers + 'a>>, Vec<Box<dyn Numbers + 'a>>);

fn in_files<'a>(tensor: &'a PlannedTensor, models: &'a [Model]) -> Result<Tables<'a>, StageError> {
    let of = |source: &'a Source| -> Result<Box<dyn Numbers + 'a>, StageError> {
        let weights = &find(models, &source.model)?.weights;
        Ok(Box::new(InFile { weights, name: &source.tensor, length: source.shape.iter().product() }))
    };
    Ok((tensor.base.as_ref().map(of).transpose()?, tensor.sources.iter().map(of).collect::<Result<_, _>>()?))
}

/// The rows of all models in the order of the new vocabulary, in memory.
fn in_order<'a>(
    tensor: &'a PlannedTensor,
    vocabulary: &Vocabulary,
    models: &[Model],
) -> Result<Tables<'a>, StageError> {
    let width = tensor.shape.last().copied().unwrap_or(1);
    let read = |source: &'a Source| {
        let numbers = find(models, &source.model)?.weights.read(&source.tensor).map_err(StageError::failed)?;
        Ok((source.model.as_str(), numbers))
    };
    let own: Vec<(&str, Vec<f32>)> =
        tensor.base.iter().chain(&tensor.sources).map(read).collect::<Result<_, StageError>>()?;
    let tables: Vec<(&str, &[f32])> = own.iter().map(|(model, table)| (*model, table.as_slice())).collect();
    let of = |source: &'a Source| -> Result<Box<dyn Numbers + 'a>, StageError> {
        let rows = vocabulary.rows(&source.model, &tables, width).map_err(StageError::failed)?;
        Ok(Box::new(rows))
    };
    Ok((tensor.base.as_ref().map(of).transpose()?, tensor.sources.iter().map(of).collect::<Result<_, _>>()?))
}

/// How far the result is from the base, over all tensors that have the same name and size.
#[derive(Default)]
struct Change {
    difference: f64,
    base: f64,
    parameters: usize,
}

impl Change {
    fn add(&mut self, compared: &Compared) {
        self.parameters += compared.parameters;
        for [difference, base] in compared.sums.lock().unwrap_or_else(PoisonError::into_inner).values() {
            self.difference += difference;
            self.base += base;
        }
    }
}

/// A tensor's part of that.
struct Compared<'a> {
    parameters: usize,
    base: Option<InFile<'a>>,
    /// Of each block by its place, so that they are added in order.
    sums: Mutex<BTreeMap<usize, [f64; 2]>>,
}

impl<'a> Compared<'a> {
    fn new(base: &'a Model, tensor: &'a PlannedTensor) -> Compared<'a> {
        let (weights, name, length) = (&base.weights, tensor.name.as_str(), tensor.shape.iter().product());
        let same = weights.shape(name).is_some_and(|shape| shape.iter().product::<usize>() == length);
        let base = same.then_some(InFile { weights, name, length });
        Compared { parameters: length, base, sums: Mutex::default() }
    }

    fn add(&self, start: usize, merged: &[f32]) -> Result<(), String> {
        let Some(base) = &self.base else { return Ok(()) };
        let mut values = vec![0.0; merged.len()];
        base.read(start, &mut values)?;
        let mut sums = [0.0; 2];
        for (before, after) in values.iter().zip(merged) {
            sums[0] += f64::from(after - before).powi(2);
            sums[1] += f64::from(*before).powi(2);
        }
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).insert(start, sums);
        Ok(())
    }
}

fn write_metrics(context: &Context, plan: &Plan, change: &Change) -> Result<(), StageError> {
    let relative = (change.difference / change.base.max(f64::MIN_POSITIVE)).sqrt();
    let metrics = json!({ "merge": {
        "tensors": plan.tensors.len(), "parameters": change.parameters, "relative_change": relative,
    }});
    let path = context.output("metrics")?.join("metrics.json");
    std::fs::write(&path, format!("{metrics:#}\n")).map_err(StageError::io(&path))
}
