//! From a configuration to a [`Recipe`], or everything that is wrong with it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::{MergeConfig, ModelConfig, SliceConfig, SourceConfig};
use crate::error::{MergeError, Problem};
use crate::method::{Base, Contract, METHODS, Scope};
use crate::recipe::{Dtype, Input, Recipe, Slice, TokenizerSource};
use crate::setting::{Setting, Settings};

const KEYS: [&str; 10] = [
    "merge_method",
    "base_model",
    "models",
    "slices",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
];

impl MergeConfig {
    /// The recipe that this configuration is.
    ///
    /// # Errors
    /// Every mistake that can be seen without the models, each with its place and what to do.
    pub fn check(&self) -> Result<Recipe, MergeError> {
        let mut checker = Checker { config: self, problems: Vec::new() };
        let recipe = checker.recipe();
        match recipe.filter(|_| checker.problems.is_empty()) {
            Some(recipe) => Ok(recipe),
            None => Err(MergeError::Config(checker.problems)),
        }
    }
}

struct Checker<'a> {
    config: &'a MergeConfig,
    problems: Vec<Problem>,
}

/// Whose parameters a table holds.
#[derive(Clone, Copy)]
enum Owner {
    /// Of the merge or of a slice.
    All,
    Model,
    /// Of the model that differences are taken from.
    Base,
}

impl Checker<'_> {
    fn recipe(&mut self) -> Option<Recipe> {
        let config = self.config;
        self.unknown("", &config.unknown, &KEYS);
        let dtype = self.dtype("dtype", config.dtype.as_deref());
        let out_dtype = self.dtype("out_dtype", config.out_dtype.as_deref());
        let method = self.method();
        let parameters = method.map(|contract| self.settings("parameters", &config.parameters, contract, Owner::All));
        let slices = method.map_or_else(Vec::new, |contract| self.slices(contract));
        let first = slices.iter().flat_map(|slice: &Slice| &slice.inputs).next();
        let base = config.base_model.clone().or_else(|| first.map(|input| input.model.clone()));
        let tokenizer = self.tokenizer(&slices);
        Some(Recipe {
            method: method?.method,
            base: base?,
            dtype: out_dtype.or(dtype),
            tokenizer,
            chat_template: config.chat_template.clone(),
            slices,
            parameters: parameters?,
        })
    }

    fn say(&mut self, place: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(place, message));
    }

    fn unknown(&mut self, place: &str, unknown: &Map<String, Value>, known: &[&str]) {
        for key in unknown.keys() {
            let message = match key.as_str() {
                "modules" => {
                    "models of several modules are not merged here; merge each with `models` or `slices`".into()
                }
                "tokens" => "rows of single tokens cannot be chosen; an absent token gets the base's row, or the mean \
                             of those models that have it"
                    .into(),
                "pad_to_multiple_of" => "embeddings are not padded; they have a row for each token".into(),
                _ => format!("unknown key{}", suggestion(key, known)),
            };
            self.say(&joined(place, key), message);
        }
    }

    fn dtype(&mut self, place: &str, name: Option<&str>) -> Option<Dtype> {
        let dtype = match name? {
            "float32" => Dtype::Float32,
            "float16" => Dtype::Float16,
            "bfloat16" => Dtype::Bfloat16,
            other => {
                self.say(place, format!("`{other}` cannot be written; there are float32, float16, bfloat16"));
                return None;
            }
        };
        Some(dtype)
    }

    fn method(&mut self) -> Option<&'static Contract> {
        let names = METHODS.each_ref().map(|contract| contract.name);
        let Some(name) = self.config.merge_method.as_deref() else {
            self.say("merge_method", format!("is missing; it is one of {}", names.join(", ")));
            return None;
        };
        let contract = Contract::named(name);
        if contract.is_none() {
            self.say("merge_method", format!("there is no method `{name}`{}", suggestion(name, &names)));
        }
        contract
    }

    /// The values of a table of parameters.
    fn settings(
        &mut self,
        place: &str,
        table: &Option<Map<String, Value>>,
        contract: &Contract,
        owner: Owner,
    ) -> Settings {
        let mut settings = Settings::new();
        for (name, value) in table.iter().flatten() {
            let place = joined(place, name);
            let Some(parameter) = contract.parameter(name) else {
                let names: Vec<&str> = contract.parameters.iter().map(|parameter| parameter.name).collect();
                let message = format!("`{}` does not take it; remove it", contract.name);
                self.say(&place, message + &suggestion(name, &names));
                continue;
            };
            match (owner, parameter.scope) {
                (Owner::Base, Scope::Model) => self.say(
                    &place,
                    format!("this model is the base, of which `{}` takes no `{name}`; remove it", contract.name),
                ),
                (Owner::Base | Owner::Model, Scope::Shared) => self.say(
                    &place,
                    "it is one for all models; write it into `parameters` of the whole merge or of the slice",
                ),
                _ => {
                    // One that cannot be read is there all the same, and not told as missing too.
                    let setting = Setting::read(value, parameter, &place);
                    let setting = setting.unwrap_or_else(|problems| {
                        self.problems.extend(problems);
                        Setting::default()
                    });
                    settings.insert(parameter.name, setting);
                }
            }
        }
        settings
    }

    fn slices(&mut self, contract: &Contract) -> Vec<Slice> {
        let base = self.config.base_model.as_deref();
        if contract.base == Base::Needed && base.is_none() && !self.every_slice_has_a_base() {
            let message = format!("`{}` needs it: the model that differences are taken from", contract.name);
            self.say("base_model", message);
        }
        match (&self.config.models, &self.config.slices) {
            (Some(models), None) => vec![self.whole(models, contract)],
            (None, Some(slices)) if slices.is_empty() => {
                self.say("slices", "is empty; list the layers of the result");
                Vec::new()
            }
            (None, Some(slices)) => {
                let numbered = slices.iter().enumerate();
                numbered.map(|(at, slice)| self.slice(&format!("slices[{at}]"), slice, contract)).collect()
            }
            (Some(_), Some(_)) => {
                self.say("slices", "there are `models` too; merge either whole models or slices of them");
                Vec::new()
            }
            (None, None) => {
                self.say("models", "is missing; list the models to merge, or `slices` of them");
                Vec::new()
            }
        }
    }

    fn every_slice_has_a_base(&self) -> bool {
        self.config.slices.as_ref().is_some_and(|slices| slices.iter().all(|slice| slice.base_model.is_some()))
    }

    /// Whole models as one slice of all their layers. As in mergekit, a base that is not listed is added.
    fn whole(&mut self, models: &[ModelConfig], contract: &Contract) -> Slice {
        let base = self.config.base_model.clone();
        let owner = |model: &str| owner(contract, base.as_deref(), model);
        let mut inputs = Vec::new();
        for (at, entry) in models.iter().enumerate() {
            let place = format!("models[{at}]");
            self.unknown(&place, &entry.unknown, &["model", "parameters"]);
            let place = joined(&place, "parameters");
            let parameters = self.settings(&place, &entry.parameters, contract, owner(&entry.model));
            inputs.push(Input { model: entry.model.clone(), layers: None, parameters });
        }
        if let Some(base) = base.as_deref().filter(|base| inputs.iter().all(|input| input.model != *base)) {
            if contract.base == Base::Input {
                let message = format!(
                    "`{}` takes no differences from a base, so `{base}` is a model as any other; list it in `models`, \
                     or leave `base_model` out",
                    contract.name
                );
                self.say("base_model", message);
            }
            inputs.push(Input { model: base.into(), layers: None, parameters: Settings::new() });
        }
        let slice = Slice { base, inputs, parameters: Settings::new() };
        self.inputs("models", "models", &slice, contract);
        slice
    }

    fn slice(&mut self, place: &str, slice: &SliceConfig, contract: &Contract) -> Slice {
        self.unknown(place, &slice.unknown, &["sources", "base_model", "parameters"]);
        let parameters = self.settings(&joined(place, "parameters"), &slice.parameters, contract, Owner::All);
        let base = slice.base_model.clone().or_else(|| self.config.base_model.clone());
        let place = joined(place, "sources");
        let mut inputs = Vec::new();
        for (at, source) in slice.sources.iter().enumerate() {
            inputs.push(self.source(&format!("{place}[{at}]"), source, contract, base.as_deref()));
        }
        self.lengths(&place, &inputs);
        let listed = base.as_ref().is_none_or(|base| inputs.iter().any(|input| input.model == *base));
        if contract.base != Base::Input && !listed {
            let base = base.as_deref().unwrap_or_default();
            self.say(&place, format!("the base model `{base}` is not among them; add it with its `layer_range`"));
        }
        let slice = Slice { base, inputs, parameters };
        self.inputs(&place, "sources", &slice, contract);
        slice
    }

    fn source(&mut self, place: &str, source: &SourceConfig, contract: &Contract, base: Option<&str>) -> Input {
        self.unknown(place, &source.unknown, &["model", "layer_range", "parameters"]);
        let [start, end] = source.layer_range;
        if start >= end {
            let message =
                format!("[{start}, {end}] has no layer; the second number is the first layer that is left out");
            self.say(&joined(place, "layer_range"), message);
        }
        let owner = owner(contract, base, &source.model);
        let parameters = self.settings(&joined(place, "parameters"), &source.parameters, contract, owner);
        Input { model: source.model.clone(), layers: Some(start..end), parameters }
    }

    fn lengths(&mut self, place: &str, inputs: &[Input]) {
        let lengths: Vec<String> =
            inputs.iter().filter_map(|input| Some(input.layers.as_ref()?.len().to_string())).collect();
        if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            self.say(place, format!("all need equally many layers; these have {}", lengths.join(", ")));
        }
    }

    /// What a slice's models are together: their number, names and needed parameters.
    fn inputs(&mut self, place: &str, word: &str, slice: &Slice, contract: &Contract) {
        let mut seen = BTreeSet::new();
        for input in &slice.inputs {
            if !seen.insert(&input.model) {
                self.say(
                    place,
                    format!("`{}` is named twice; give it one entry with the sum of the weights", input.model),
                );
            }
        }
        let counted = |input: &&Input| !is_base(contract, slice.base.as_deref(), &input.model);
        let models: Vec<&Input> = slice.inputs.iter().filter(counted).collect();
        let (least, most) = contract.models;
        if !(least..=most).contains(&models.len()) {
            let beside = if contract.base == Base::Input { "" } else { " beside the base" };
            let number = if least == most { format!("exactly {least}") } else { format!("at least {least}") };
            let message = format!("`{}` merges {number} {word}{beside}; there are {}", contract.name, models.len());
            self.say(place, message);
        }
        for parameter in contract.parameters.iter().filter(|parameter| parameter.needed) {
            self.needed(place, parameter.name, parameter.scope, slice, &models);
        }
    }

    fn needed(&mut self, place: &str, name: &'static str, scope: Scope, slice: &Slice, models: &[&Input]) {
        let whole = self.config.parameters.as_ref().is_some_and(|table| table.contains_key(name));
        if whole || slice.parameters.contains_key(name) {
            return;
        }
        match scope {
            Scope::Shared => self.say("parameters", format!("`{name}` is missing; give it to the merge or the slice")),
            Scope::Model => {
                let without = models.iter().filter(|input| !input.parameters.contains_key(name));
                let without: Vec<String> = without.map(|input| format!("`{}`", input.model)).collect();
                if !without.is_empty() {
                    let models = without.join(", ");
                    self.say(place, format!("`{name}` is missing for {models}; give it to them or to the whole merge"));
                }
            }
        }
    }

    fn tokenizer(&mut self, slices: &[Slice]) -> Option<TokenizerSource> {
        let config = self.config;
        let (place, source) = match (&config.tokenizer_source, &config.tokenizer) {
            (Some(_), Some(_)) => {
                self.say("tokenizer", "there is `tokenizer_source` too; keep one of them");
                return None;
            }
            (Some(source), None) => ("tokenizer_source", source),
            (None, Some(tokenizer)) => {
                self.unknown("tokenizer", &tokenizer.unknown, &["source"]);
                ("tokenizer.source", &tokenizer.source)
            }
            (None, None) => return None,
        };
        let mut models = slices.iter().flat_map(|slice| &slice.inputs).map(|input| &input.model);
        match source.as_str() {
            "base" => Some(TokenizerSource::Base),
            "union" => Some(TokenizerSource::Union),
            model if slices.is_empty() || models.any(|other| other == model) => {
                Some(TokenizerSource::Model(model.into()))
            }
            other => {
                self.say(place, format!("`{other}` is neither `base` nor `union` nor one of the models"));
                None
            }
        }
    }
}

fn is_base(contract: &Contract, base: Option<&str>, model: &str) -> bool {
    contract.base != Base::Input && base == Some(model)
}

fn owner(contract: &Contract, base: Option<&str>, model: &str) -> Owner {
    if is_base(contract, base, model) { Owner::Base } else { Owner::Model }
}

fn joined(place: &str, key: &str) -> String {
    if place.is_empty() { key.into() } else { format!("{place}.{key}") }
}

/// The known name that is nearest, or all of them.
fn suggestion(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    match near.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((likeness, known)) if likeness > 0.85 => format!("; did you mean `{known}`?"),
        Some(_) => format!("; there are {}", known.join(", ")),
        None => String::new(),
    }
}
