//! What a text such as `base`, `base.tokenizer`, `cell@group=1` or `cell@group=1.model` points at.
//!
//! A name without `@` is the whole stage with all its matrix points; a selection keeps the points that agree
//! with it, so `cell@group=1` gathers every seed of group 1.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::diagnostic::Mistake;
use crate::matrix::label;
use crate::suggest::one_of;

/// All names of a pipeline.
#[derive(Default)]
pub(crate) struct Directory {
    points: Vec<Address>,
    /// Bases that were switched off.
    disabled: BTreeSet<String>,
    /// Bases with a mistake that leaves their points unknown: references to them are believed.
    opaque: BTreeSet<String>,
}

struct Address {
    base: String,
    /// Axis to the text in the point's name.
    axes: Vec<(String, String)>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    /// In the order in which they were added; empty for opaque stages only.
    pub points: Vec<usize>,
    pub output: Option<String>,
}

impl Directory {
    pub fn add(&mut self, base: &str, matrix: &BTreeMap<String, Value>) {
        let axes = matrix.iter().map(|(axis, value)| (axis.clone(), label(value).unwrap_or_default())).collect();
        self.points.push(Address { base: base.into(), axes });
    }

    pub fn disabled(&mut self, base: &str) {
        self.disabled.insert(base.into());
    }

    pub fn opaque(&mut self, base: &str) {
        self.opaque.insert(base.into());
    }

    pub fn into_disabled(self) -> Vec<String> {
        self.disabled.into_iter().collect()
    }

    pub fn find(&self, text: &str) -> Result<Found, Mistake> {
        let Some((base, rest)) = text.split_once('@') else {
            let (base, output) = match text.split_once('.') {
                Some((base, output)) => (base, Some(output.to_string())),
                None => (text, None),
            };
            return Ok(Found { points: self.select(base, None)?, output });
        };
        let whole = self.select(base, Some(rest)).map(|points| Found { points, output: None });
        match (whole, rest.rsplit_once('.')) {
            (Err(_), Some((selection, output))) if output.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let points = self.select(base, Some(selection))?;
                Ok(Found { points, output: Some(output.into()) })
            }
            (whole, _) => whole,
        }
    }

    fn select(&self, base: &str, selection: Option<&str>) -> Result<Vec<usize>, Mistake> {
        if self.opaque.contains(base) {
            return Ok(Vec::new());
        }
        if self.disabled.contains(base) {
            let help = Some("enable it, or take it out here".to_string());
            return Err(Mistake { message: format!("the stage `{base}` is disabled (`enabled = false`)"), help });
        }
        let mut points: Vec<usize> = (0..self.points.len()).filter(|&at| self.points[at].base == base).collect();
        if points.is_empty() {
            let help = one_of(base, "the stages are", self.bases());
            return Err(Mistake { message: format!("there is no stage `{base}`"), help });
        }
        for assignment in selection.into_iter().flat_map(|text| text.split(',')) {
            points = self.keep(base, &points, assignment)?;
        }
        Ok(points)
    }

    /// The points at which `assignment`, an `axis=value`, holds.
    fn keep(&self, base: &str, points: &[usize], assignment: &str) -> Result<Vec<usize>, Mistake> {
        let (axis, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let axes = || self.points[points[0]].axes.iter().map(|(axis, _)| axis.as_str());
        if axes().next().is_none() {
            let help = Some(format!("write `{base}`"));
            return Err(Mistake { message: format!("the stage `{base}` has no matrix to select from"), help });
        }
        if !axes().any(|known| known == axis) {
            let help = one_of(axis, "its axes are", axes());
            return Err(Mistake { message: format!("the matrix of `{base}` has no axis `{axis}`"), help });
        }
        let value_at = |at: usize| self.points[at].axes.iter().find(|(known, _)| known == axis).map(|(_, text)| text);
        let kept: Vec<usize> =
            points.iter().copied().filter(|&at| value_at(at).is_some_and(|text| text == value)).collect();
        if kept.is_empty() {
            let values: BTreeSet<&str> = points.iter().filter_map(|&at| value_at(at)).map(String::as_str).collect();
            let help = one_of(value, "there are", values);
            return Err(Mistake { message: format!("`{base}` has no point with `{axis}={value}`"), help });
        }
        Ok(kept)
    }

    fn bases(&self) -> impl Iterator<Item = &str> {
        let mut told = BTreeSet::new();
        let points = self.points.iter().map(|point| point.base.as_str());
        points.chain(self.opaque.iter().map(String::as_str)).filter(move |base| told.insert(*base))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn directory() -> Directory {
        let mut all = Directory::default();
        all.add("base", &BTreeMap::new());
        for model in ["sft", "qwen3-0.6b"] {
            for rate in [0.1, 0.5] {
                all.add("cell", &BTreeMap::from([("model".into(), json!(model)), ("rate".into(), json!(rate))]));
            }
        }
        all
    }

    fn found(text: &str) -> Option<(Vec<usize>, Option<String>)> {
        directory().find(text).ok().map(|found| (found.points, found.output))
    }

    #[test]
    fn names_selections_and_outputs_are_told_apart() {
        assert_eq!(found("base"), Some((vec![0], None)));
        assert_eq!(found("base.out"), Some((vec![0], Some("out".into()))));
        assert_eq!(found("cell"), Some((vec![1, 2, 3, 4], None)));
        assert_eq!(found("cell@rate=0.5"), Some((vec![2, 4], None)));
        assert_eq!(found("cell@model=qwen3-0.6b"), Some((vec![3, 4], None)));
        assert_eq!(found("cell@model=qwen3-0.6b,rate=0.1"), Some((vec![3], None)));
        assert_eq!(found("cell@rate=0.1,model=qwen3-0.6b.out"), Some((vec![3], Some("out".into()))));
        assert_eq!(found("cell.out").map(|found| found.1), Some(Some("out".into())));
    }

    #[test]
    fn misses_say_what_there_is() {
        let miss = |text| directory().find(text).err().map(|miss| (miss.message, miss.help.unwrap_or_default()));
        assert_eq!(miss("bas"), Some(("there is no stage `bas`".into(), "did you mean `base`?".into())));
        assert_eq!(
            miss("cell@rate=9"),
            Some(("`cell` has no point with `rate=9`".into(), "there are: 0.1, 0.5".into()))
        );
        assert_eq!(
            miss("cell@mode=sft"),
            Some(("the matrix of `cell` has no axis `mode`".into(), "did you mean `model`?".into()))
        );
        assert_eq!(
            miss("base@rate=1"),
            Some(("the stage `base` has no matrix to select from".into(), "write `base`".into()))
        );
    }
}
