//! The methods and what each of them takes, by mergekit's names.
//!
//! The parameters' defaults are mergekit's and stand where they are resolved (`plan/resolve.rs`).

use schemars::JsonSchema;
use serde::Serialize;

/// A merge method. Papers, and where these differ from mergekit's, stand in the files of `arithmetic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The mean by weight: `Σ wᵢ·xᵢ / Σ wᵢ`.
    Linear,
    /// From the base to one model along the sphere, the tensors as vectors.
    Slerp,
    /// From one model to another along the sphere: tensors, rows or columns as vectors, or what they differ from a
    /// base.
    Nuslerp,
    /// `base + λ · Σ wᵢ·(xᵢ − base)`.
    TaskArithmetic,
    /// The same of the largest differences, and of those only that agree with the elected sign.
    Ties,
    /// Task arithmetic of differences that are kept by chance and rescaled.
    DareLinear,
    /// The same with elected signs.
    DareTies,
    /// Task arithmetic without the smallest differences and the very largest.
    Breadcrumbs,
    /// The same with elected signs.
    BreadcrumbsTies,
    /// From the base to the mean of the models, as far as their differences agree in direction.
    ModelStock,
    /// One model's layers as they are, or scaled; slices of several are stacked.
    Passthrough,
}

/// What a method does with the configuration's `base_model`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// Differences are taken from it.
    Needed,
    /// Differences are taken from it where there is one.
    Possible,
    /// It is a model as any other, and only its configuration and tokenizer are taken.
    Input,
}

/// What a method asks of a configuration.
pub(crate) struct Contract {
    pub method: Method,
    pub name: &'static str,
    pub base: Base,
    /// The least and the most models, the base not counted but where it is a model as any other.
    pub models: (usize, usize),
    pub parameters: &'static [Parameter],
}

/// Where a parameter may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// With the whole merge or a slice: one value for all models.
    Shared,
    /// There, or with a model (`models[].parameters`, `sources[].parameters`), where it has the last word.
    Model,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    Any,
    /// From 0 to 1, both included.
    Share,
    /// From 0 to 1, but not 0: nothing would be left.
    Density,
    Flag,
    Word(&'static [&'static str]),
}

/// A parameter of mergekit's, or one of the two of our own (`ties_variant`, `dare_rescale`).
#[derive(Debug)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub scope: Scope,
    pub kind: Type,
    /// There is no default.
    pub needed: bool,
}

const fn model(name: &'static str, kind: Type, needed: bool) -> Parameter {
    Parameter { name, scope: Scope::Model, kind, needed }
}

const fn shared(name: &'static str, kind: Type) -> Parameter {
    Parameter { name, scope: Scope::Shared, kind, needed: false }
}

const WEIGHT: Parameter = model("weight", Type::Any, true);
const DENSITY: Parameter = model("density", Type::Density, false);
const GAMMA: Parameter = model("gamma", Type::Share, false);
const NORMALIZE: Parameter = shared("normalize", Type::Flag);
const LAMBDA: Parameter = shared("lambda", Type::Any);
const RESCALE: Parameter = shared("rescale", Type::Flag);
const T: Parameter = Parameter { name: "t", scope: Scope::Shared, kind: Type::Share, needed: true };
const VARIANT: Parameter = shared("ties_variant", Type::Word(&["mergekit", "peft"]));
const DARE_RESCALE: Parameter = shared("dare_rescale", Type::Word(&["mergekit", "paper"]));

/// A switch of mergekit's memory, without effect on a result: every method takes it.
pub(crate) const INT8_MASK: Parameter = shared("int8_mask", Type::Flag);

const MANY: usize = usize::MAX;

/// The one list of methods.
pub(crate) static METHODS: [Contract; 11] = [
    contract(Method::Linear, "linear", Base::Input, (1, MANY), &[WEIGHT, NORMALIZE]),
    contract(Method::Slerp, "slerp", Base::Needed, (1, 1), &[T]),
    contract(
        Method::Nuslerp,
        "nuslerp",
        Base::Possible,
        (2, 2),
        &[WEIGHT, shared("nuslerp_flatten", Type::Flag), shared("nuslerp_row_wise", Type::Flag)],
    ),
    contract(Method::TaskArithmetic, "task_arithmetic", Base::Needed, (1, MANY), &[WEIGHT, NORMALIZE, LAMBDA]),
    contract(Method::Ties, "ties", Base::Needed, (1, MANY), &[WEIGHT, DENSITY, NORMALIZE, RESCALE, LAMBDA, VARIANT]),
    contract(
        Method::DareLinear,
        "dare_linear",
        Base::Needed,
        (1, MANY),
        &[WEIGHT, DENSITY, NORMALIZE, RESCALE, LAMBDA, DARE_RESCALE],
    ),
    contract(
        Method::DareTies,
        "dare_ties",
        Base::Needed,
        (1, MANY),
        &[WEIGHT, DENSITY, NORMALIZE, RESCALE, LAMBDA, DARE_RESCALE, VARIANT],
    ),
    contract(
        Method::Breadcrumbs,
        "breadcrumbs",
        Base::Needed,
        (1, MANY),
        &[WEIGHT, DENSITY, GAMMA, NORMALIZE, RESCALE, LAMBDA],
    ),
    contract(
        Method::BreadcrumbsTies,
        "breadcrumbs_ties",
        Base::Needed,
        (1, MANY),
        &[WEIGHT, DENSITY, GAMMA, NORMALIZE, RESCALE, LAMBDA, VARIANT],
    ),
    contract(Method::ModelStock, "model_stock", Base::Needed, (2, MANY), &[shared("filter_wise", Type::Flag)]),
    contract(Method::Passthrough, "passthrough", Base::Input, (1, 1), &[model("scale", Type::Any, false)]),
];

const fn contract(
    method: Method,
    name: &'static str,
    base: Base,
    models: (usize, usize),
    parameters: &'static [Parameter],
) -> Contract {
    Contract { method, name, base, models, parameters }
}

impl Contract {
    pub fn named(name: &str) -> Option<&'static Contract> {
        METHODS.iter().find(|contract| contract.name == name)
    }

    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().chain([&INT8_MASK]).find(|parameter| parameter.name == name)
    }
}

impl Method {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        METHODS.iter().find(|contract| contract.method == self).map_or("", |contract| contract.name)
    }
}
