//! The merge itself, tensor by tensor.

use std::collections::BTreeMap;
use std::path::Path;

use gazal_data::{Quick, Stream};
use gazal_lm::weights::{MAX_SHARD_SIZE, ModelWriter, Planned, Weights};
use gazal_merge::{Inputs, Member, ModelTensors, Plan, PlannedTensor, Recipe, Source, Vocabulary, merge, plan};
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
        let merged = merged(tensor, &models, vocabulary.as_ref(), context.seed)?;
        change.add(base, &tensor.name, &merged)?;
        writer.write(&tensor.name, &merged).map_err(StageError::failed)?;
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

/// One tensor of the result.
fn merged(
    tensor: &PlannedTensor,
    models: &[Model],
    vocabulary: Option<&Vocabulary>,
    seed: u64,
) -> Result<Vec<f32>, StageError> {
    let read = |source: &Source| find(models, &source.model)?.weights.read(&source.tensor).map_err(StageError::failed);
    let mut base = tensor.base.as_ref().map(read).transpose()?;
    let mut sources = tensor.sources.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if let Some(vocabulary) = vocabulary.filter(|_| tensor.vocabulary) {
        (base, sources) = in_order(tensor, vocabulary, base.as_ref(), &sources)?;
    }
    let mut merged = vec![0.0; tensor.shape.iter().product()];
    let inputs = Inputs { base: base.as_deref(), sources: sources.iter().map(Vec::as_slice).collect() };
    let stream = Stream::new(seed, &format!("merge {}", tensor.name));
    let numbers: Vec<Quick> = (0..sources.len() as u64).map(|source| stream.quick(0, source)).collect();
    let uniform = |source: usize, index: u64| numbers[source].uniform(index);
    merge(tensor, &inputs, &uniform, &mut merged).map_err(StageError::failed)?;
    Ok(merged)
}

type Tables = (Option<Vec<f32>>, Vec<Vec<f32>>);

/// The rows of all models in the order of the new vocabulary.
fn in_order(
    tensor: &PlannedTensor,
    vocabulary: &Vocabulary,
    base: Option<&Vec<f32>>,
    sources: &[Vec<f32>],
) -> Result<Tables, StageError> {
    let width = tensor.shape.last().copied().unwrap_or(1);
    let own = tensor.base.iter().zip(base).chain(tensor.sources.iter().zip(sources));
    let tables: Vec<(&str, &[f32])> = own.map(|(source, table)| (source.model.as_str(), table.as_slice())).collect();
    let of = |source: &Source| vocabulary.rows(&source.model, &tables, width).map_err(StageError::failed);
    let base = tensor.base.as_ref().map(of).transpose()?;
    Ok((base, tensor.sources.iter().map(of).collect::<Result<_, _>>()?))
}

/// How far the result is from the base, over all tensors that have the same name and size.
#[derive(Default)]
struct Change {
    difference: f64,
    base: f64,
    parameters: usize,
}

impl Change {
    fn add(&mut self, base: &Model, name: &str, merged: &[f32]) -> Result<(), StageError> {
        self.parameters += merged.len();
        if base.weights.shape(name).is_some_and(|shape| shape.iter().product::<usize>() == merged.len()) {
            let values = base.weights.read(name).map_err(StageError::failed)?;
            for (before, after) in values.iter().zip(merged) {
                self.difference += f64::from(after - before).powi(2);
                self.base += f64::from(*before).powi(2);
            }
        }
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
