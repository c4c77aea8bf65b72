//! What a text such as `base`, `base.tokenizer`, `cell@group=1` or `cell@group=1.model` points at.
//!
//! A name without `@` is the whole stage with all its matrix points; a selection keeps the points that agree
//! with it, so `cell@group=1` gathers every seed of group 1.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::diagnostic::Mistake;
use crate::matrix::label;
use crate::suggest::one_of;

/// All names of a pipeline.
#[derive(Default)]
pub(crate) struct Directory {
    stages: HashMap<String, Points>,
    /// How many points there are of all stages together.
    count: usize,
    /// Bases that were switched off.
    disabled: BTreeSet<String>,
    /// Bases with a mistake that leaves their points unknown: references to them are believed.
    opaque: BTreeSet<String>,
}

/// The points of one stage, by number; a selection of one among thousands does not look at the others.
#[derive(Default)]
struct Points {
    all: Vec<usize>,
    /// Axis, and the text of a value in a point's name, to the points that have it.
    axes: BTreeMap<String, HashMap<String, Vec<usize>>>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    /// In the order in which they were added; empty for opaque stages only.
    pub points: Vec<usize>,
    pub output: Option<String>,
}

impl Directory {
    pub fn add(&mut self, base: &str, matrix: &Map<String, Value>) {
        if !self.stages.contains_key(base) {
            self.stages.insert(base.into(), Points::default());
        }
        if let Some(points) = self.stages.get_mut(base) {
            points.add(self.count, matrix);
        }
        self.count += 1;
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
        let is_point = || self.stages.get(base).is_some_and(|points| points.kept(rest).is_some());
        match rest.rsplit_once('.').filter(|(_, output)| output.starts_with(|c: char| c.is_ascii_alphabetic())) {
            Some((selection, output)) if !is_point() => {
                let points = self.select(base, Some(selection))?;
                Ok(Found { points, output: Some(output.into()) })
            }
            _ => Ok(Found { points: self.select(base, Some(rest))?, output: None }),
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
        let Some(points) = self.stages.get(base) else {
            let help = one_of(base, "the stages are", self.bases());
            return Err(Mistake { message: format!("there is no stage `{base}`"), help });
        };
        match selection {
            Some(selection) => points.select(base, selection),
            None => Ok(points.all.clone()),
        }
    }

    /// In the order of the file.
    fn bases(&self) -> impl Iterator<Item = &str> {
        let mut bases: Vec<(&str, &Points)> =
            self.stages.iter().map(|(base, points)| (base.as_str(), points)).collect();
        bases.sort_by_key(|(_, points)| points.all[0]);
        bases.into_iter().map(|(base, _)| base).chain(self.opaque.iter().map(String::as_str))
    }
}

impl Points {
    fn add(&mut self, point: usize, matrix: &Map<String, Value>) {
        self.all.push(point);
        for (axis, value) in matrix {
            let values = self.axes.entry(axis.clone()).or_default();
            values.entry(label(value).unwrap_or_default()).or_default().push(point);
        }
    }

    fn select(&self, base: &str, selection: &str) -> Result<Vec<usize>, Mistake> {
        self.kept(selection).ok_or_else(|| self.miss(base, selection))
    }

    /// The points at which every `axis=value` of `selection` holds; `None` for none.
    fn kept(&self, selection: &str) -> Option<Vec<usize>> {
        let holding = |(axis, value)| self.axes.get(axis)?.get(value);
        let mut holding: Vec<&Vec<usize>> = selection.split(',').map(split).map(holding).collect::<Option<_>>()?;
        holding.sort_by_key(|points| points.len());
        let (fewest, others) = holding.split_first()?;
        let mut kept = (*fewest).clone();
        kept.retain(|point| others.iter().all(|points| points.binary_search(point).is_ok()));
        (!kept.is_empty()).then_some(kept)
    }

    /// What is wrong with the first assignment that leaves no point.
    fn miss(&self, base: &str, selection: &str) -> Mistake {
        if self.axes.is_empty() {
            let help = Some(format!("write `{base}`"));
            return Mistake { message: format!("the stage `{base}` has no matrix to select from"), help };
        }
        let mut left: BTreeSet<usize> = self.all.iter().copied().collect();
        for (axis, value) in selection.split(',').map(split) {
            let Some(values) = self.axes.get(axis) else {
                let help = one_of(axis, "its axes are", self.axes.keys().map(String::as_str));
                return Mistake { message: format!("the matrix of `{base}` has no axis `{axis}`"), help };
            };
            let holding: BTreeSet<usize> = values.get(value).into_iter().flatten().copied().collect();
            if left.is_disjoint(&holding) {
                let is_left = |points: &[usize]| points.iter().any(|point| left.contains(point));
                let there = values.iter().filter(|(_, points)| is_left(points)).map(|(text, _)| text.as_str());
                let help = one_of(value, "there are", there.collect::<BTreeSet<&str>>());
                return Mistake { message: format!("`{base}` has no point with `{axis}={value}`"), help };
            }
            left.retain(|point| holding.contains(point));
        }
        Mistake { message: format!("`{base}` has no point `{selection}`"), help: None }
    }
}

fn split(assignment: &str) -> (&str, &str) {
    assignment.split_once('=').unwrap_or((assignment, ""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn directory() -> Directory {
        let mut all = Directory::default();
        all.add("base", &Map::new());
        for model in ["sft", "qwen3-0.6b"] {
            for rate in [0.1, 0.5] {
                let point = [("model".into(), json!(model)), ("rate".into(), json!(rate))];
                all.add("cell", &Map::from_iter(point));
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
            miss("cell@model=sft,rate=9"),
            Some(("`cell` has no point with `rate=9`".into(), "there are: 0.1, 0.5".into()))
        );
        assert_eq!(
            miss("base@rate=1"),
            Some(("the stage `base` has no matrix to select from".into(), "write `base`".into()))
        );
    }
}
