//! `merge-models`: several models of one architecture become one, by mergekit's methods and configuration.
//!
//! What is computed stands in [`gazal_merge`]; here tensors are read and written in blocks, so that models, and tensors,
//! may be larger than memory.

mod files;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use gazal_merge::{MergeConfig, MergeError, Recipe};
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use crate::forecast;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// How they are merged, in mergekit's keys: `merge_method`, `base_model`, `models` or `slices`, `parameters`, ….
    #[serde(default)]
    pub config: Option<MergeConfig>,
    /// The same as a file of mergekit's.
    #[serde(default)]
    pub config_file: Option<PathBuf>,
    /// What the configuration calls the models of the port `models`, in their order [default: the order in which it first
    /// names them, `base_model` first].
    #[serde(default)]
    pub names: Vec<String>,
}

pub struct MergeModels;

impl Kind for MergeModels {
    type Params = Params;
    const NAME: &'static str = "merge-models";
    // 2: `relative_change` and nuslerp's columns are summed block by block.
    const REVISION: u32 = 2;
    const DOC: &'static str =
        "Several models become one: linear, slerp, TIES, DARE, model stock, and mergekit's others.";
    const TRAITS: Traits = Traits { paths: &["config_file"], ..Traits::SEEDED };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::many("models", PortType::Model, "what to merge, in the order of `names`")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("model", PortType::Model, "the merged model, with a tokenizer and `mergekit_config.yml`"),
            OutPort::value(
                "metrics",
                PortType::Metrics,
                "`tensors`, `parameters`, and the `relative_change` of the base",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        match (&params.config, &params.config_file) {
            (Some(config), None) => match config.check() {
                Ok(recipe) => params.misnamed(&recipe).into_iter().collect(),
                Err(error) => problems(&error),
            },
            (None, Some(_)) => Vec::new(),
            _ => {
                let problem = Problem::new("config", "give either `config` or `config_file`");
                vec![problem.with_help("e.g. config = { merge_method = \"linear\", models = [{ model = \"a\" }, …], parameters = { weight = 0.5 } }")]
            }
        }
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let whole = params.config.as_ref().is_some_and(|config| config.models.is_some());
        let like = forecast::config(inputs, "models").filter(|_| whole);
        Forecast { outputs: like.map(|config| forecast::model(&config)).unwrap_or_default(), ..Forecast::default() }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        run::run(&params, context)
    }
}

impl Params {
    /// # Errors
    /// All that is wrong with the configuration.
    fn recipe(&self, context: &Context) -> Result<Recipe, StageError> {
        let config = match (&self.config, context.paths("config_file")) {
            (Some(config), _) => config.clone(),
            (None, [file]) => {
                let text = std::fs::read_to_string(file).map_err(StageError::io(file))?;
                let named = |error: MergeError| StageError::failed(format!("{}: {error}", file.display()));
                MergeConfig::from_yaml(&text).map_err(named)?
            }
            _ => return Err(StageError::Params("config_file".into(), "names no file".into())),
        };
        let recipe = config.check().map_err(StageError::failed)?;
        match self.misnamed(&recipe) {
            Some(problem) => Err(StageError::Params(problem.field, problem.message)),
            None => Ok(recipe),
        }
    }

    /// What the models are called, in the order of the port.
    fn called<'a>(&'a self, recipe: &'a Recipe) -> Vec<&'a str> {
        match self.names.is_empty() {
            true => recipe.models(),
            false => self.names.iter().map(String::as_str).collect(),
        }
    }

    fn misnamed(&self, recipe: &Recipe) -> Option<Problem> {
        let (called, wanted) = (self.called(recipe), recipe.models());
        let lacking: Vec<&str> = wanted.iter().filter(|model| !called.contains(model)).copied().collect();
        let twice = called.iter().enumerate().find(|(at, name)| called[..*at].contains(name));
        let message = match (lacking.is_empty(), twice) {
            (true, None) => return None,
            (_, Some((_, name))) => format!("`{name}` is there twice"),
            (false, None) => format!("do not have what the configuration names: {}", lacking.join(", ")),
        };
        Some(Problem::new("names", message))
    }
}

fn problems(error: &MergeError) -> Vec<Problem> {
    match error {
        MergeError::Config(problems) => {
            problems.iter().map(|problem| Problem::new(&place(&problem.place), problem.message.clone())).collect()
        }
        other => vec![Problem::new("config", other.to_string())],
    }
}

/// A place in the configuration as one in the parameters.
fn place(place: &str) -> String {
    if place.is_empty() { "config".into() } else { format!("config.{place}") }
}
