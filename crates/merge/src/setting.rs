//! What a configuration says about a parameter: a value, a gradient over layers, or either by the tensor's name.

use serde_json::Value;

use crate::error::Problem;
use crate::method::{Parameter, Type};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Number(f64),
    Flag(bool),
    Word(String),
}

/// A value for all layers, or values spread evenly over them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gradient(Vec<Scalar>);

/// Gradients for tensors whose names contain a text; the first that fits counts, and one without a text (or with
/// `*`) fits all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Setting(Vec<(Option<String>, Gradient)>);

/// The settings of a place, by their parameter's name.
pub(crate) type Settings = std::collections::BTreeMap<&'static str, Setting>;

impl Setting {
    /// Reads what stands at `place` as a value of `parameter`.
    pub fn read(value: &Value, parameter: &Parameter, place: &str) -> Result<Setting, Vec<Problem>> {
        let entries: Vec<(String, &Value)> = match value {
            Value::Object(_) => vec![(place.into(), value)],
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().enumerate().map(|(at, item)| (format!("{place}[{at}]"), item)).collect()
            }
            _ => {
                let gradient = Gradient::read(value, parameter, place)?;
                return Ok(Setting(vec![(None, gradient)]));
            }
        };
        let (mut read, mut problems) = (Vec::new(), Vec::new());
        for (place, entry) in entries {
            match filtered(entry, parameter, &place) {
                Ok(entry) => read.push(entry),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(Setting(read)) } else { Err(problems) }
    }

    /// The value for a tensor at a share `t` of the way through the layers; none where no filter fits.
    pub fn at(&self, tensor: &str, t: f64) -> Option<Scalar> {
        let fits = |filter: &Option<String>| {
            filter.as_ref().is_none_or(|filter| filter == "*" || tensor.contains(filter.as_str()))
        };
        self.0.iter().find(|(filter, _)| fits(filter)).and_then(|(_, gradient)| gradient.at(t))
    }
}

/// A `{filter, value}` of a list.
fn filtered(entry: &Value, parameter: &Parameter, place: &str) -> Result<(Option<String>, Gradient), Vec<Problem>> {
    let wrong = |message: &str| Err(vec![Problem::new(place, message)]);
    let Some(table) = entry.as_object() else {
        return wrong("a list has either values or tables `{filter, value}`, not both");
    };
    if let Some(unknown) = table.keys().find(|key| !["filter", "value"].contains(&key.as_str())) {
        return wrong(&format!("unknown key `{unknown}`; a filtered value has `value` and, if not for all, `filter`"));
    }
    let filter = match table.get("filter") {
        None | Some(Value::Null) => None,
        Some(Value::String(filter)) => Some(filter.clone()),
        Some(_) => return wrong("`filter` is a part of tensors' names, such as `self_attn`"),
    };
    match table.get("value") {
        Some(value) => Ok((filter, Gradient::read(value, parameter, &format!("{place}.value"))?)),
        None => wrong("`value` is missing"),
    }
}

impl Gradient {
    fn read(value: &Value, parameter: &Parameter, place: &str) -> Result<Gradient, Vec<Problem>> {
        let scalar = |(place, value): (String, &Value)| {
            scalar(value, parameter.kind).map_err(|message| Problem::new(place, message))
        };
        let Value::Array(items) = value else {
            return Ok(Gradient(vec![scalar((place.into(), value)).map_err(|problem| vec![problem])?]));
        };
        if items.is_empty() {
            return Err(vec![Problem::new(place, "the list of values is empty")]);
        }
        let numbered = items.iter().enumerate().map(|(at, item)| (format!("{place}[{at}]"), item));
        let (read, problems): (Vec<_>, Vec<_>) = numbered.map(scalar).partition(Result::is_ok);
        match problems.is_empty() {
            true => Ok(Gradient(read.into_iter().flatten().collect())),
            false => Err(problems.into_iter().filter_map(Result::err).collect()),
        }
    }

    /// Numbers are interpolated between the two that `t` lies between, other values chosen.
    fn at(&self, t: f64) -> Option<Scalar> {
        let last = self.0.len().checked_sub(1)?;
        let place = t * last as f64;
        let index = (place.floor() as usize).min(last);
        match (self.0.get(index)?, self.0.get(last.min(index + 1))?) {
            (Scalar::Number(low), Scalar::Number(high)) => {
                let share = place - index as f64;
                Some(Scalar::Number((1.0 - share) * low + share * high))
            }
            (chosen, _) => Some(chosen.clone()),
        }
    }
}

/// One value of the parameter's type.
fn scalar(value: &Value, kind: Type) -> Result<Scalar, String> {
    match kind {
        Type::Flag => value.as_bool().map(Scalar::Flag).ok_or_else(|| format!("{value} is neither true nor false")),
        Type::Word(words) => {
            let known = value.as_str().filter(|word| words.contains(word));
            known
                .map(|word| Scalar::Word(word.into()))
                .ok_or_else(|| format!("{value} is none of {}", words.join(", ")))
        }
        Type::Any | Type::Share | Type::Density => number(value, kind).map(Scalar::Number),
    }
}

fn number(value: &Value, kind: Type) -> Result<f64, String> {
    let quoted = value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok());
    let hint = if quoted { "; write it without quotes" } else { "" };
    let number = value.as_f64().ok_or_else(|| format!("{value} is no number{hint}"))?;
    match kind {
        _ if !number.is_finite() => Err(format!("{number} is no finite number")),
        Type::Share if !(0.0..=1.0).contains(&number) => Err(format!("{number} is not between 0 and 1")),
        Type::Density if number <= 0.0 || number > 1.0 => Err(format!(
            "{number} is not above 0 and at most 1; it is the share that is kept, so leave out a model of which \
             nothing is to be kept"
        )),
        _ => Ok(number),
    }
}
