//! The numbers of one tensor's operation, from the settings that speak about it. Defaults are mergekit's.

use super::{Along, Election, Keep, Operation, Part, Rescale, Source, TaskVectors};
use crate::method::Method;
use crate::recipe::{Input, Scopes};
use crate::setting::Scalar;

/// Of a slice's models, each with its tensor: the operation, the base where differences are taken from one, and the
/// sources beside it.
///
/// # Errors
/// What is wrong with the tensor's numbers, for people.
pub(super) fn operation(
    scopes: &Scopes<'_>,
    tensor: &str,
    sources: Vec<Source>,
) -> Result<(Operation, Option<Source>, Vec<Source>), String> {
    let base = scopes.slice.base.as_deref().filter(|_| differs_from_base(scopes.recipe.method));
    let inputs: Vec<&Input> = scopes.slice.inputs.iter().filter(|input| Some(input.model.as_str()) != base).collect();
    let (base, sources): (Vec<Source>, Vec<Source>) =
        sources.into_iter().partition(|source| Some(source.model.as_str()) == base);
    let resolver = Resolver { scopes, tensor, models: inputs.into_iter().zip(&sources).collect() };
    Ok((resolver.operation()?, base.into_iter().next(), sources))
}

fn differs_from_base(method: Method) -> bool {
    !matches!(method, Method::Linear | Method::Passthrough)
}

struct Resolver<'a> {
    scopes: &'a Scopes<'a>,
    /// Its name in the result.
    tensor: &'a str,
    /// The base left out.
    models: Vec<(&'a Input, &'a Source)>,
}

impl Resolver<'_> {
    fn operation(&self) -> Result<Operation, String> {
        Ok(match self.scopes.recipe.method {
            Method::Linear => self.linear()?,
            Method::Slerp => Operation::Slerp { t: self.shared_number("t").ok_or_else(|| self.missing("t"))? },
            Method::Nuslerp => self.nuslerp()?,
            Method::ModelStock => Operation::ModelStock { filter_wise: self.flag("filter_wise", false) },
            Method::Passthrough => {
                let scale =
                    self.models.iter().find_map(|(input, source)| self.scopes.of(input, "scale", &source.tensor));
                Operation::Copy { scale: scale.as_ref().and_then(number) }
            }
            Method::TaskArithmetic
            | Method::Ties
            | Method::DareLinear
            | Method::DareTies
            | Method::Breadcrumbs
            | Method::BreadcrumbsTies => Operation::TaskVectors(self.task_vectors()?),
        })
    }

    fn linear(&self) -> Result<Operation, String> {
        let (weights, normalize) = (self.weights()?, self.flag("normalize", true));
        if normalize && weights.iter().sum::<f64>() == 0.0 {
            return Err("the weights add up to 0; choose others, or set `normalize` to false".into());
        }
        Ok(Operation::Linear { weights, normalize })
    }

    /// Weights that cancel out are taken for equal ones, as in mergekit.
    fn nuslerp(&self) -> Result<Operation, String> {
        let weights = self.weights()?;
        let total: f64 = weights.iter().sum();
        let second = weights.get(1).copied().unwrap_or_default();
        let t = if total.abs() < 1e-6 { 0.5 } else { second / total };
        let along = match (self.flag("nuslerp_flatten", true), self.flag("nuslerp_row_wise", false)) {
            (true, _) => Along::Whole,
            (false, false) => Along::Last,
            (false, true) => Along::First,
        };
        Ok(Operation::Nuslerp { t, along })
    }

    fn task_vectors(&self) -> Result<TaskVectors, String> {
        let method = self.scopes.recipe.method;
        let random = matches!(method, Method::DareLinear | Method::DareTies);
        let elects = matches!(method, Method::Ties | Method::DareTies | Method::BreadcrumbsTies);
        let election = elects.then(|| match self.word("ties_variant").as_deref() {
            Some("peft") => Election::Peft,
            _ => Election::Weighted,
        });
        let rescale = match (self.flag("rescale", random), self.word("dare_rescale").as_deref()) {
            (false, _) => Rescale::None,
            (true, Some("paper")) => Rescale::Density,
            (true, _) => Rescale::Norm,
        };
        let weights = self.weights()?;
        let parts = weights.into_iter().zip(&self.models);
        Ok(TaskVectors {
            parts: parts.map(|(weight, model)| Part { weight, keep: self.keep(model) }).collect(),
            election,
            // PEFT knows no other way than to divide.
            normalize: self.flag("normalize", method == Method::Ties || election == Some(Election::Peft)),
            rescale,
            lambda: self.shared_number("lambda").unwrap_or(1.0),
        })
    }

    fn keep(&self, model: &(&Input, &Source)) -> Keep {
        let density = self.own_number(model, "density").unwrap_or(1.0);
        match self.scopes.recipe.method {
            // What is whole is left as it is, with all outliers, as in mergekit.
            _ if density >= 1.0 => Keep::All,
            Method::Ties => Keep::Largest { density },
            Method::DareLinear | Method::DareTies => Keep::Random { density },
            _ => Keep::Middle { density, gamma: self.own_number(model, "gamma").unwrap_or(0.01) },
        }
    }

    fn weights(&self) -> Result<Vec<f64>, String> {
        let weight = |model: &(&Input, &Source)| {
            let weight = self.own_number(model, "weight");
            weight.ok_or_else(|| format!("`{}`: {}", model.0.model, self.missing("weight")))
        };
        self.models.iter().map(weight).collect()
    }

    fn missing(&self, parameter: &str) -> String {
        format!("none of the filters of `{parameter}` fits; end its list with a `value` without a filter")
    }

    fn own_number(&self, (input, source): &(&Input, &Source), parameter: &str) -> Option<f64> {
        self.scopes.of(input, parameter, &source.tensor).as_ref().and_then(number)
    }

    fn shared_number(&self, parameter: &str) -> Option<f64> {
        self.scopes.shared(parameter, self.tensor).as_ref().and_then(number)
    }

    fn flag(&self, parameter: &str, default: bool) -> bool {
        match self.scopes.shared(parameter, self.tensor) {
            Some(Scalar::Flag(flag)) => flag,
            _ => default,
        }
    }

    fn word(&self, parameter: &str) -> Option<String> {
        match self.scopes.shared(parameter, self.tensor)? {
            Scalar::Word(word) => Some(word),
            _ => None,
        }
    }
}

fn number(scalar: &Scalar) -> Option<f64> {
    match scalar {
        Scalar::Number(number) => Some(*number),
        _ => None,
    }
}
