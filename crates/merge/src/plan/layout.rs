//! Which tensors the result has, and of which tensors each is made.
//!
//! As in mergekit: a slice's layers get the numbers that follow those of the slices before it; what lies before the
//! layers is made of the first slice's models, what lies after them of the last slice's. Gradients run from 0 at a
//! slice's first layer to 1 at its last (1 where it has one layer), and are at 0 outside the layers.

use std::collections::{HashMap, HashSet};

use super::names::{self, LayerName};
use super::{ModelTensors, Plan, PlannedTensor, Source, resolve};
use crate::error::{MergeError, Problem};
use crate::recipe::{Input, Recipe, Scopes, Slice};

/// Lays a recipe out over its models. `vocabulary` is the number of rows that embeddings get, from
/// [`crate::Vocabulary::len`], for recipes that name a tokenizer.
///
/// # Errors
/// Everything in which the models do not match the recipe or one another.
pub fn plan(recipe: &Recipe, models: &[ModelTensors], vocabulary: Option<usize>) -> Result<Plan, MergeError> {
    let mut planner = Planner { recipe, models: HashMap::new(), vocabulary, problems: Vec::new(), tensors: Vec::new() };
    planner.index(models);
    if planner.problems.is_empty() {
        planner.lay_out();
    }
    if planner.problems.is_empty() && planner.tensors.is_empty() {
        planner.problems.push(Problem::new("", "these models have no tensors"));
    }
    if !planner.problems.is_empty() {
        return Err(MergeError::Plan(planner.problems));
    }
    let layers = recipe.slices.iter().map(|slice| planner.length(slice)).sum();
    let tied = !planner.tensors.iter().any(|tensor| names::is_head(&tensor.name));
    Ok(Plan { tensors: planner.tensors, layers, tied })
}

/// A model's tensors by name, by layer, and outside the layers; lists in the checkpoint's order.
struct Index<'a> {
    layers: usize,
    shapes: HashMap<&'a str, &'a [usize]>,
    by_layer: Vec<Vec<LayerName<'a>>>,
    outside: Vec<&'a str>,
}

struct Planner<'a> {
    recipe: &'a Recipe,
    models: HashMap<&'a str, Index<'a>>,
    vocabulary: Option<usize>,
    problems: Vec<Problem>,
    tensors: Vec<PlannedTensor>,
}

/// A tensor to plan: its name in the result, and in each of the slice's models.
struct Wanted {
    name: String,
    sources: Vec<String>,
}

impl<'a> Planner<'a> {
    fn index(&mut self, models: &'a [ModelTensors]) {
        for model in models {
            let index = self.index_of(model);
            if self.models.insert(&model.name, index).is_some() {
                self.say("", format!("the model `{}` is given twice", model.name));
            }
        }
        let absent = self.recipe.models().into_iter().filter(|name| !self.models.contains_key(name));
        let absent: Vec<String> = absent.map(|name| format!("`{name}`")).collect();
        if !absent.is_empty() {
            self.say("", format!("the configuration names {}, which is not among the models", absent.join(", ")));
        }
        if self.recipe.tokenizer.is_some() != self.vocabulary.is_some() {
            self.say("", "a new vocabulary is needed if and only if the configuration has a `tokenizer_source`");
        }
    }

    fn index_of(&mut self, model: &'a ModelTensors) -> Index<'a> {
        let by_layer = vec![Vec::new(); model.layers];
        let mut index = Index { layers: model.layers, shapes: HashMap::new(), by_layer, outside: Vec::new() };
        for (name, shape) in model.tensors.iter().filter(|(name, _)| !names::is_computed(name)) {
            if index.shapes.insert(name, shape).is_some() {
                self.say(name, format!("`{}` has two tensors of this name", model.name));
            }
            match names::layer(name) {
                None => index.outside.push(name),
                Some((layer, around)) => match index.by_layer.get_mut(layer) {
                    Some(names) => names.push(around),
                    None => {
                        let message = format!("`{}` has it, but only {} layers", model.name, model.layers);
                        self.say(name, message);
                    }
                },
            }
        }
        index
    }

    fn say(&mut self, place: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(place, message));
    }

    /// How many layers a slice gives the result.
    fn length(&self, slice: &Slice) -> usize {
        let Some(input) = slice.inputs.first() else { return 0 };
        let all = || self.models.get(input.model.as_str()).map_or(0, |index| index.layers);
        input.layers.as_ref().map_or_else(all, ExactSizeIterator::len)
    }

    fn lay_out(&mut self) {
        let recipe = self.recipe;
        let (Some(first), Some(last)) = (recipe.slices.first(), recipe.slices.last()) else { return };
        self.bounds();
        if !self.problems.is_empty() {
            return;
        }
        self.outside(first, true);
        let mut layer = 0;
        for slice in &recipe.slices {
            let length = self.length(slice);
            for offset in 0..length {
                let t = if length > 1 { offset as f64 / (length - 1) as f64 } else { 1.0 };
                self.layer(&Scopes { recipe, slice, t }, offset, layer);
                layer += 1;
            }
        }
        self.outside(last, false);
    }

    /// Whether every model has the layers that are taken of it.
    fn bounds(&mut self) {
        let recipe = self.recipe;
        for (at, slice) in recipe.slices.iter().enumerate() {
            let length = self.length(slice);
            for input in &slice.inputs {
                let has = self.models.get(input.model.as_str()).map_or(0, |index| index.layers);
                match &input.layers {
                    Some(range) if range.end > has => {
                        let place = format!("slices[{at}]");
                        let (start, end) = (range.start, range.end);
                        let message = format!("`{}` has {has} layers, and [{start}, {end}] ends behind", input.model);
                        self.say(&place, message);
                    }
                    None if has != length => {
                        let first = slice.inputs.first().map_or("", |input| &input.model);
                        let message = format!(
                            "`{first}` has {length} layers and `{}` {has}; name the layers to merge in `slices`",
                            input.model
                        );
                        self.say("models", message);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The tensors of one layer of the result.
    fn layer(&mut self, scopes: &Scopes<'_>, offset: usize, layer: usize) {
        let Some(first) = scopes.slice.inputs.first() else { return };
        let names = self.names(first, offset);
        if names.is_empty() {
            let message = format!("`{}` has no tensors of it", first.model);
            return self.say(&format!("layer {}", number(first, offset)), message);
        }
        let known: HashSet<LayerName> = names.iter().copied().collect();
        for input in &scopes.slice.inputs {
            for extra in self.names(input, offset).into_iter().filter(|name| !known.contains(name)) {
                let message = format!("`{}` has it, and `{}` has not", input.model, first.model);
                self.say(&extra.of_layer(number(input, offset)), message);
            }
        }
        for name in names {
            let sources = scopes.slice.inputs.iter().map(|input| name.of_layer(number(input, offset))).collect();
            self.tensor(scopes, Wanted { name: name.of_layer(layer), sources });
        }
    }

    fn names(&self, input: &Input, offset: usize) -> Vec<LayerName<'a>> {
        let layers = self.models.get(input.model.as_str()).map(|index| &index.by_layer);
        layers.and_then(|layers| layers.get(number(input, offset))).cloned().unwrap_or_default()
    }

    /// The tensors before the layers, or those after them.
    fn outside(&mut self, slice: &Slice, before: bool) {
        let mut names: Vec<&str> = Vec::new();
        for input in &slice.inputs {
            let outside = self.models.get(input.model.as_str()).map(|index| index.outside.as_slice());
            for name in outside.unwrap_or_default() {
                if names::is_before_layers(name) == before && !names.contains(name) {
                    names.push(name);
                }
            }
        }
        let scopes = Scopes { recipe: self.recipe, slice, t: 0.0 };
        for name in names {
            let sources = slice.inputs.iter().map(|input| self.own_or_tied(&input.model, name)).collect();
            self.tensor(&scopes, Wanted { name: name.into(), sources });
        }
    }

    /// The name itself, or that of the embeddings for the head of a model whose head they are.
    fn own_or_tied(&self, model: &str, name: &str) -> String {
        let Some(index) = self.models.get(model).filter(|index| !index.shapes.contains_key(name)) else {
            return name.into();
        };
        let embedding = index.outside.iter().find(|other| names::is_head(name) && names::is_embedding(other));
        embedding.map_or_else(|| name.into(), ToString::to_string)
    }

    /// Plans one tensor, or says what is wrong with it.
    fn tensor(&mut self, scopes: &Scopes<'_>, wanted: Wanted) {
        let inputs = &scopes.slice.inputs;
        let mut sources = Vec::with_capacity(inputs.len());
        for (input, tensor) in inputs.iter().zip(wanted.sources) {
            match self.models.get(input.model.as_str()).and_then(|index| index.shapes.get(tensor.as_str())) {
                Some(shape) => sources.push(Source { model: input.model.clone(), tensor, shape: shape.to_vec() }),
                None => self.say(&wanted.name, format!("`{}` has no tensor `{tensor}`", input.model)),
            }
        }
        if sources.len() < inputs.len() {
            return;
        }
        let vocabulary = self.vocabulary.filter(|_| names::is_of_vocabulary(&wanted.name));
        match shape(&wanted.name, &sources, vocabulary).and_then(|shape| {
            let (operation, base, sources) = resolve::operation(scopes, &wanted.name, sources)?;
            let name = wanted.name.clone();
            Ok(PlannedTensor { name, shape, base, sources, operation, vocabulary: vocabulary.is_some() })
        }) {
            Ok(tensor) => self.tensors.push(tensor),
            Err(message) => self.say(&wanted.name, message),
        }
    }
}

/// The layer of a model at an offset of a slice.
fn number(input: &Input, offset: usize) -> usize {
    input.layers.as_ref().map_or(0, |range| range.start) + offset
}

/// The shape of the result. Rows may differ in number only where they are tokens and a new vocabulary is made.
fn shape(name: &str, sources: &[Source], vocabulary: Option<usize>) -> Result<Vec<usize>, String> {
    let Some(first) = sources.first() else { return Err("it has no source".into()) };
    let compared = |shape: &[usize]| shape.get(usize::from(vocabulary.is_some())..).map(<[usize]>::to_vec);
    if let Some(other) = sources.iter().find(|source| compared(&source.shape) != compared(&first.shape)) {
        let (one, two) = (&first.shape, &other.shape);
        let rows_alone = names::is_of_vocabulary(name) && one.get(1..) == two.get(1..);
        let remedy = match rows_alone {
            true => "the vocabularies differ; unite them with `tokenizer_source = \"union\"`",
            false => "only models of one shape can be merged",
        };
        return Err(format!("{one:?} in `{}`, but {two:?} in `{}`; {remedy}", first.model, other.model));
    }
    let mut shape = first.shape.clone();
    if let (Some(rows), Some(tokens)) = (shape.first_mut(), vocabulary) {
        *rows = tokens;
    }
    Ok(shape)
}
