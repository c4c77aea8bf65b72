//! What of a model trains, as `sft` and `grpo` let it be said: the adapter that the stage is given, a new one, or the whole
//! model.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use gazal_lm::{
    AdapterConfig, Config, Decoder, Targets, Tokenizer, Trainable, load_adapter, new_adapter, save_adapter,
};
use gazal_stage_api::{Context, Foreseen, Foresight, InPort, JsonSchema, OutPort, PortType, Problem, StageError};
use serde::{Deserialize, Serialize};

use crate::defaults::{self, check_positive};
use crate::{device, forecast};

/// Which projections get an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum TargetModules {
    Names(Vec<String>),
    Pattern(String),
}

impl Default for TargetModules {
    fn default() -> TargetModules {
        TargetModules::Names(defaults::all_projections())
    }
}

/// The parameters that say it, of any stage that has them: see [`peft`].
pub struct Peft<'a> {
    pub use_peft: bool,
    pub lora_r: usize,
    pub lora_alpha: f64,
    pub use_rslora: bool,
    pub use_dora: bool,
    pub lora_target_modules: &'a TargetModules,
    pub loraplus_lr_ratio: Option<f64>,
}

/// [`Peft`] of parameters that have its fields.
macro_rules! peft {
    ($params:expr) => {
        $crate::peft::Peft {
            use_peft: $params.use_peft,
            lora_r: $params.lora_r,
            lora_alpha: $params.lora_alpha,
            use_rslora: $params.use_rslora,
            use_dora: $params.use_dora,
            lora_target_modules: &$params.lora_target_modules,
            loraplus_lr_ratio: $params.loraplus_lr_ratio,
        }
    };
}
pub(crate) use peft;

pub fn rank() -> usize {
    16
}

pub fn alpha() -> f64 {
    32.0
}

impl Peft<'_> {
    pub fn trainable(&self) -> Trainable {
        if self.use_peft { Trainable::Adapters } else { Trainable::Base }
    }

    /// Where an adapter comes in.
    pub fn input(doc: &'static str) -> InPort {
        InPort::optional("adapter", PortType::Adapter, doc)
    }

    /// What comes out.
    pub fn output(&self) -> OutPort {
        match self.use_peft {
            true => OutPort::value("adapter", PortType::Adapter, "what was trained, a PEFT folder"),
            false => OutPort::value("model", PortType::Model, "what was trained, with its tokenizer"),
        }
    }

    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = check_positive(&[("lora_r", self.lora_r as f64), ("lora_alpha", self.lora_alpha)]);
        match self.lora_target_modules {
            TargetModules::Names(names) => {
                problems.extend(defaults::unknown_projections("lora_target_modules", names));
            }
            TargetModules::Pattern(_) => {
                problems.extend(self.new_config().check().err().map(|why| Problem::new("lora_target_modules", why)));
            }
        }
        problems
    }

    /// What can be meant but has no effect.
    pub fn warnings(&self) -> Vec<String> {
        if self.use_peft {
            return Vec::new();
        }
        let ratio = self.loraplus_lr_ratio.map(|_| "loraplus_lr_ratio");
        let idle = |field| format!("`{field}` has no effect: `use_peft = false` trains the whole model");
        self.described().into_iter().chain(ratio).map(idle).collect()
    }

    /// What does not go with an adapter that is given.
    pub fn misplaced(&self, inputs: &[&str]) -> Vec<Problem> {
        if !inputs.contains(&"adapter") {
            return Vec::new();
        }
        if !self.use_peft {
            let problem = Problem::new("use_peft", "trains the whole model, and the stage has an input `adapter`");
            return vec![problem.with_help("merge the adapter first, and let the merged model be the input `model`")];
        }
        let misplaced = |field| {
            let problem = Problem::new(field, "describes a new adapter, and the stage has one as its input `adapter`");
            problem.with_help(format!("leave out `{field}`, or the input"))
        };
        self.described().into_iter().map(misplaced).collect()
    }

    /// The fields that describe a new adapter otherwise than it is by default.
    fn described(&self) -> Vec<&'static str> {
        let fields = [
            ("lora_r", self.lora_r != rank()),
            ("lora_alpha", self.lora_alpha.to_bits() != alpha().to_bits()),
            ("use_rslora", self.use_rslora),
            ("use_dora", self.use_dora),
            ("lora_target_modules", *self.lora_target_modules != TargetModules::default()),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }

    fn new_config(&self) -> AdapterConfig {
        let targets = match self.lora_target_modules {
            TargetModules::Names(names) => Targets::Names(names.clone()),
            TargetModules::Pattern(pattern) => Targets::Pattern(pattern.clone()),
        };
        AdapterConfig {
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            ..AdapterConfig::new(self.lora_r, self.lora_alpha, targets)
        }
    }

    /// What will train, as far as it is known before anything runs; none if an adapter comes whose shape is not known.
    pub fn foresee(&self, inputs: &Foresight) -> Option<Learner> {
        match inputs.inputs.contains_key("adapter") {
            true => forecast::adapter_config(inputs, "adapter").map(|config| Learner(Some(config))),
            false => Some(self.without_input()),
        }
    }

    /// What trains.
    ///
    /// # Errors
    /// An adapter that is given and cannot be read.
    pub fn learner(&self, context: &Context) -> Result<Learner, StageError> {
        match context.optional("adapter") {
            Some(folder) => Ok(Learner(Some(AdapterConfig::load(folder).map_err(StageError::failed)?))),
            None => Ok(self.without_input()),
        }
    }

    fn without_input(&self) -> Learner {
        Learner(self.use_peft.then(|| self.new_config()))
    }
}

/// What trains: an adapter, or the whole model.
pub struct Learner(Option<AdapterConfig>);

impl Learner {
    pub fn adapter(&self) -> Option<&AdapterConfig> {
        self.0.as_ref()
    }

    /// The model in `folder` on a device, with what trains.
    ///
    /// # Errors
    /// Weights that cannot be read, and an adapter that does not fit them.
    pub fn load(&self, folder: &Path, device: &Device, context: &Context) -> Result<Decoder, StageError> {
        let mut decoder =
            Decoder::load_in(folder, device, device::kept_in(context.device.precision)).map_err(StageError::failed)?;
        match (&self.0, context.optional("adapter")) {
            (None, _) => Ok(()),
            (Some(_), Some(adapter)) => load_adapter(&mut decoder, adapter).map(drop),
            (Some(config), None) => {
                new_adapter(&mut decoder, config, &device::tensor_numbers(context.seed, "initial adapter"))
            }
        }
        .map_err(StageError::failed)?;
        Ok(decoder)
    }

    /// Writes what has been trained to the stage's output.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, decoder: &Decoder, tokenizer: &Tokenizer, context: &Context) -> Result<(), StageError> {
        match &self.0 {
            Some(config) => save_adapter(decoder, config, context.output("adapter")?),
            None => {
                let folder = context.output("model")?;
                decoder.save(folder).and_then(|()| tokenizer.save(folder))
            }
        }
        .map_err(StageError::failed)
    }

    /// The output to come, of a model of this shape.
    pub fn foreseen(&self, config: &Config) -> BTreeMap<String, Foreseen> {
        match &self.0 {
            Some(adapter) => forecast::adapter(config, adapter),
            None => forecast::model(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard(target_modules: &TargetModules) -> Peft<'_> {
        Peft {
            use_peft: true,
            lora_r: rank(),
            lora_alpha: alpha(),
            use_rslora: false,
            use_dora: false,
            lora_target_modules: target_modules,
            loraplus_lr_ratio: None,
        }
    }

    fn fields(problems: Vec<Problem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_description_of_a_new_adapter_goes_with_none_that_is_given() {
        let modules = TargetModules::default();
        let [with, without]: [&[&str]; 2] = [&["model", "adapter"], &["model"]];
        assert!(standard(&modules).misplaced(with).is_empty());
        let fewer = TargetModules::Names(vec!["q_proj".into()]);
        let described = Peft { lora_r: 4, use_dora: true, lora_target_modules: &fewer, ..standard(&modules) };
        assert_eq!(fields(described.misplaced(with)), ["lora_r", "use_dora", "lora_target_modules"]);
        assert!(described.misplaced(without).is_empty() && described.problems().is_empty());
        let whole = Peft { use_peft: false, ..standard(&modules) };
        assert_eq!(fields(whole.misplaced(with)), ["use_peft"]);
        assert!(whole.misplaced(without).is_empty());
    }

    #[test]
    fn what_is_of_an_adapter_has_no_effect_on_a_whole_model() {
        let modules = TargetModules::default();
        let whole = Peft { use_peft: false, lora_alpha: 4.0, loraplus_lr_ratio: Some(8.0), ..standard(&modules) };
        let warnings = whole.warnings();
        assert!(warnings.len() == 2 && warnings[0].starts_with("`lora_alpha`"), "{warnings:?}");
        assert!(warnings[1].starts_with("`loraplus_lr_ratio`"), "{warnings:?}");
        assert!(Peft { use_peft: true, ..whole }.warnings().is_empty());
    }

    #[test]
    fn a_new_adapter_must_be_one() {
        let modules = TargetModules::Names(vec!["p_proj".into()]);
        let wrong = Peft { lora_r: 0, lora_alpha: f64::NAN, ..standard(&modules) };
        assert_eq!(fields(wrong.problems()), ["lora_r", "lora_alpha", "lora_target_modules"]);
    }
}
