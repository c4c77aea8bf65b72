//! A configuration that was checked.

use std::ops::Range;

use crate::method::Method;
use crate::setting::{Scalar, Settings};

/// What is merged how: everything that a configuration can say by itself is right, and [`crate::plan`] needs only
/// the models' shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub method: Method,
    /// The model whose configuration, and unless said otherwise whose tokenizer, the result gets: `base_model`, or
    /// the first model that is named.
    pub base: String,
    /// What the result is written in; none where the configuration does not say.
    pub dtype: Option<Dtype>,
    /// Whose tokenizer the result gets, and that rows of embeddings are brought into its order.
    pub tokenizer: Option<TokenizerSource>,
    pub chat_template: Option<String>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) parameters: Settings,
}

/// The type of the numbers that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Float16,
    Bfloat16,
}

/// The tokenizer of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSource {
    /// That of [`Recipe::base`].
    Base,
    /// The base's, and all tokens that other models have beside.
    Union,
    /// Of this model.
    Model(String),
}

/// Layers of the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    /// The model that differences are taken from; it is one of the inputs.
    pub base: Option<String>,
    pub inputs: Vec<Input>,
    pub parameters: Settings,
}

/// A model, or a run of its layers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub model: String,
    /// None for all of them.
    pub layers: Option<Range<usize>>,
    pub parameters: Settings,
}

impl Recipe {
    /// The models, each once, the base first.
    pub fn models(&self) -> Vec<&str> {
        let mut models = vec![self.base.as_str()];
        for input in self.slices.iter().flat_map(|slice| &slice.inputs) {
            if !models.contains(&input.model.as_str()) {
                models.push(&input.model);
            }
        }
        models
    }
}

/// The settings that speak about a tensor of a slice, from the one that counts most.
pub(crate) struct Scopes<'a> {
    pub recipe: &'a Recipe,
    pub slice: &'a Slice,
    /// How far through the slice's layers, from 0 to 1.
    pub t: f64,
}

impl Scopes<'_> {
    /// The value of a parameter of the whole tensor, by the tensor's name in the result.
    pub fn shared(&self, parameter: &str, tensor: &str) -> Option<Scalar> {
        let scopes = [&self.slice.parameters, &self.recipe.parameters];
        scopes.iter().find_map(|settings| settings.get(parameter)?.at(tensor, self.t))
    }

    /// The value of a parameter of one model, by the tensor's name there.
    pub fn of(&self, input: &Input, parameter: &str, tensor: &str) -> Option<Scalar> {
        let own = input.parameters.get(parameter).and_then(|setting| setting.at(tensor, self.t));
        own.or_else(|| self.shared(parameter, tensor))
    }
}
