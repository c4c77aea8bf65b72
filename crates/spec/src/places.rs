//! Where the fields of a stage were written.
//!
//! Every stage keeps them and they are seldom asked for, so a stage holds two small numbers a field. The names of the
//! fields are shared by all stages that have the same ones.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::source::Lines;
use crate::{Place, Source};

/// The places of a stage's fields: "" for the stage itself, `kind`, `seed`, `params.beta`, `inputs.model`, ...
#[derive(Clone, Debug, Default)]
pub struct Places {
    shape: Arc<Shape>,
    /// Line and column.
    spots: Box<[(u32, u32)]>,
}

/// What stages with the same fields share.
#[derive(Debug, Default)]
struct Shape {
    file: Arc<str>,
    names: Vec<String>,
}

impl Places {
    /// Where the file says it; what the command line says has no place.
    pub fn get(&self, field: &str) -> Option<Place> {
        let at = self.shape.names.iter().position(|name| name == field)?;
        let (line, column) = self.spots[at];
        Some(Place { file: self.shape.file.to_string(), line: line as usize, column: column as usize })
    }
}

/// Makes the places of stages.
pub(crate) struct Surveyor<'a> {
    lines: Lines<'a>,
    file: Arc<str>,
    shapes: RefCell<HashMap<Vec<String>, Arc<Shape>>>,
}

impl<'a> Surveyor<'a> {
    pub fn of(source: &Source<'a>) -> Surveyor<'a> {
        Surveyor { lines: Lines::of(source), file: source.name.into(), shapes: RefCell::default() }
    }

    /// The places of fields that begin at these bytes.
    pub fn places(&self, fields: Vec<(String, usize)>) -> Places {
        let spots = fields.iter().map(|(_, offset)| self.lines.spot(*offset)).collect();
        Places { shape: self.shape(fields.into_iter().map(|(name, _)| name).collect()), spots }
    }

    fn shape(&self, names: Vec<String>) -> Arc<Shape> {
        let mut shapes = self.shapes.borrow_mut();
        if let Some(known) = shapes.get(&names) {
            return known.clone();
        }
        let shape = Arc::new(Shape { file: self.file.clone(), names: names.clone() });
        shapes.insert(names, shape.clone());
        shape
    }
}
