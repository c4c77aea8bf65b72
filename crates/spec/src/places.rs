//! Where the fields of a stage were written.
//!
//! Every stage keeps them and they are seldom asked for, so a stage holds two small numbers a field. The names of the
//! fields are shared by all stages that have the same ones.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use crate::source::Lines;
use crate::{Place, Source};

/// The places of a stage's fields: "" for the stage itself, `kind`, `seed`, `params.beta`, `inputs.model`, ...
#[derive(Clone, Debug, Default)]
pub struct Places {
    file: Arc<str>,
    names: Arc<[String]>,
    /// Line and column.
    spots: Box<[(u32, u32)]>,
}

impl Places {
    /// Where the file says it; what the command line says has no place.
    pub fn get(&self, field: &str) -> Option<Place> {
        let at = self.names.iter().position(|name| name == field)?;
        let (line, column) = self.spots[at];
        Some(Place { file: self.file.to_string(), line: line as usize, column: column as usize })
    }
}

/// Makes the places of stages.
pub(crate) struct Surveyor<'a> {
    lines: Lines<'a>,
    file: Arc<str>,
    shapes: RefCell<HashSet<Arc<[String]>>>,
}

impl<'a> Surveyor<'a> {
    pub fn of(source: &Source<'a>) -> Surveyor<'a> {
        Surveyor { lines: Lines::of(source), file: source.name.into(), shapes: RefCell::default() }
    }

    /// The places of fields that begin at these bytes.
    pub fn places(&self, fields: Vec<(String, usize)>) -> Places {
        let spots = fields.iter().map(|(_, offset)| self.lines.spot(*offset)).collect();
        let names: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
        Places { file: self.file.clone(), names: self.shared(names), spots }
    }

    fn shared(&self, names: Vec<String>) -> Arc<[String]> {
        let mut shapes = self.shapes.borrow_mut();
        if let Some(known) = shapes.get(names.as_slice()) {
            return known.clone();
        }
        let names: Arc<[String]> = names.into();
        shapes.insert(names.clone());
        names
    }
}
