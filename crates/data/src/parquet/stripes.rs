//! Rows cut into columns, as Dremel does (Melnik et al. 2010, section 4): for each cell of a leaf, how many of the
//! optional and repeated parts above it are there, and in which list it goes on.

use std::fs::File;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;
use serde_json::{Number, Value};

use super::schema::{Fields, Misfit, NumberType, Shape, kind, position};
use super::writer::cells_of;
use crate::Row;

/// Columns that fill.
pub(super) struct Stripes(Vec<(String, Stripe)>);

enum Stripe {
    Leaf(Leaf),
    List {
        element: Box<Stripe>,
        /// How many lists it is in, itself too.
        depth: i16,
    },
    Object(Stripes),
}

struct Leaf {
    cells: Cells,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

/// Those that are there.
enum Cells {
    Nulls,
    Booleans(Vec<bool>),
    Integers(Vec<i64>),
    /// By their bits.
    Unsigned(Vec<i64>),
    Doubles(Vec<f64>),
    Texts(Vec<ByteArray>),
}

/// Where a value is.
#[derive(Clone, Copy)]
struct Levels {
    /// Parts above it that are there.
    definition: i16,
    /// The depth of the list that goes on with it; 0 begins a row.
    repetition: i16,
}

/// About what a cell takes besides a text's bytes.
const CELL: usize = 16;
/// What a text takes besides.
const TEXT: usize = 64;

impl Stripes {
    pub fn new(columns: &Fields) -> Stripes {
        Stripes::within(columns, 0)
    }

    fn within(fields: &Fields, lists: i16) -> Stripes {
        Stripes(fields.iter().map(|(name, shape)| (name.clone(), Stripe::new(shape, lists))).collect())
    }

    /// Adds a row; about how many bytes it takes.
    pub fn push(&mut self, row: &Row) -> Result<usize, Misfit> {
        self.push_object(row, Levels { definition: 0, repetition: 0 })
    }

    fn push_object(&mut self, object: &Row, at: Levels) -> Result<usize, Misfit> {
        let strange = |(at, name): &(usize, &String)| position(&self.0, name, *at).is_none();
        if let Some((_, name)) = object.keys().enumerate().find(strange) {
            return Err(Misfit::new("is in none of the rows that the columns were told from").within(name));
        }
        let push = |(name, stripe): &mut (String, Stripe)| {
            stripe.push(object.get(name), at).map_err(|misfit| misfit.within(name))
        };
        self.0.iter_mut().map(push).sum()
    }

    /// Writes all columns as a row group and leaves them empty.
    pub fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        self.0.iter_mut().try_for_each(|(_, stripe)| stripe.write(group))
    }
}

impl Stripe {
    fn new(shape: &Shape, lists: i16) -> Stripe {
        match shape {
            Shape::List(element) => {
                Stripe::List { element: Box::new(Stripe::new(element, lists + 1)), depth: lists + 1 }
            }
            Shape::Object(fields) => Stripe::Object(Stripes::within(fields, lists)),
            leaf => Stripe::Leaf(Leaf { cells: Cells::new(leaf), definitions: Vec::new(), repetitions: Vec::new() }),
        }
    }

    fn push(&mut self, value: Option<&Value>, at: Levels) -> Result<usize, Misfit> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(self.push_nothing(at)) };
        let there = Levels { definition: at.definition + 1, ..at };
        match (self, value) {
            (Stripe::Leaf(leaf), value) => leaf.push(value, there),
            (Stripe::Object(fields), Value::Object(object)) => fields.push_object(object, there),
            (list @ Stripe::List { .. }, Value::Array(items)) if items.is_empty() => Ok(list.push_nothing(there)),
            (Stripe::List { element, depth }, Value::Array(items)) => {
                let first = Levels { definition: there.definition + 1, ..there };
                let next = Levels { repetition: *depth, ..first };
                let levels = std::iter::once(first).chain(std::iter::repeat(next));
                let sizes = items.iter().zip(levels).map(|(item, at)| element.push(Some(item), at));
                sizes.sum::<Result<_, _>>().map_err(|misfit| misfit.within("[]"))
            }
            (Stripe::Object(_), value) => Err(misfit(value, "an object")),
            (Stripe::List { .. }, value) => Err(misfit(value, "a list")),
        }
    }

    /// To every leaf, that the parts above it end here.
    fn push_nothing(&mut self, at: Levels) -> usize {
        match self {
            Stripe::Leaf(leaf) => leaf.push_levels(at),
            Stripe::List { element, .. } => element.push_nothing(at),
            Stripe::Object(fields) => fields.0.iter_mut().map(|(_, stripe)| stripe.push_nothing(at)).sum(),
        }
    }

    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        match self {
            Stripe::Leaf(leaf) => leaf.write(group),
            Stripe::List { element, .. } => element.write(group),
            Stripe::Object(fields) => fields.write(group),
        }
    }
}

impl Leaf {
    fn push_levels(&mut self, at: Levels) -> usize {
        self.definitions.push(at.definition);
        self.repetitions.push(at.repetition);
        CELL
    }

    fn push(&mut self, value: &Value, at: Levels) -> Result<usize, Misfit> {
        let size = self.cells.push(value)?;
        Ok(size + self.push_levels(at))
    }

    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        let (definitions, repetitions) = (&self.definitions, Some(self.repetitions.as_slice()));
        match &self.cells {
            Cells::Nulls => cells_of::<Int32Type>(group, &[], definitions, repetitions)?,
            Cells::Booleans(cells) => cells_of::<BoolType>(group, cells, definitions, repetitions)?,
            Cells::Integers(cells) | Cells::Unsigned(cells) => {
                cells_of::<Int64Type>(group, cells, definitions, repetitions)?;
            }
            Cells::Doubles(cells) => cells_of::<DoubleType>(group, cells, definitions, repetitions)?,
            Cells::Texts(cells) => cells_of::<ByteArrayType>(group, cells, definitions, repetitions)?,
        }
        self.cells.clear();
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}

impl Cells {
    fn new(shape: &Shape) -> Cells {
        match shape {
            Shape::Boolean => Cells::Booleans(Vec::new()),
            Shape::Text => Cells::Texts(Vec::new()),
            Shape::Number(numbers) => match numbers.of_type() {
                NumberType::Integer => Cells::Integers(Vec::new()),
                NumberType::Unsigned => Cells::Unsigned(Vec::new()),
                NumberType::Double => Cells::Doubles(Vec::new()),
            },
            Shape::Null | Shape::List(_) | Shape::Object(_) => Cells::Nulls,
        }
    }

    /// Adds a value; how many bytes of text it has, and what they take besides.
    fn push(&mut self, value: &Value) -> Result<usize, Misfit> {
        let number = |expected, read: fn(&Number) -> Option<i64>| {
            value.as_number().and_then(read).ok_or_else(|| misfit(value, expected))
        };
        match self {
            Cells::Nulls => return Err(misfit(value, "nothing but null")),
            Cells::Booleans(cells) => cells.push(value.as_bool().ok_or_else(|| misfit(value, "a boolean"))?),
            Cells::Integers(cells) => cells.push(number("a signed integer", Number::as_i64)?),
            Cells::Unsigned(cells) => {
                cells.push(number("an unsigned integer", |number| number.as_u64().map(u64::cast_signed))?);
            }
            Cells::Doubles(cells) => {
                let double = value.as_number().and_then(exact);
                cells.push(double.ok_or_else(|| misfit(value, "a number that a double is equal to"))?);
            }
            Cells::Texts(cells) => {
                let text = value.as_str().ok_or_else(|| misfit(value, "a text"))?;
                cells.push(text.into());
                return Ok(TEXT + text.len());
            }
        }
        Ok(0)
    }

    fn clear(&mut self) {
        match self {
            Cells::Nulls => {}
            Cells::Booleans(cells) => cells.clear(),
            Cells::Integers(cells) | Cells::Unsigned(cells) => cells.clear(),
            Cells::Doubles(cells) => cells.clear(),
            Cells::Texts(cells) => cells.clear(),
        }
    }
}

/// A number as a double, if that is no other number.
fn exact(number: &Number) -> Option<f64> {
    let double = number.as_f64()?;
    number.as_i128().is_none_or(|integer| double as i128 == integer).then_some(double)
}

fn misfit(value: &Value, expected: &str) -> Misfit {
    Misfit::new(&format!("is {} here, where {expected} is needed", kind(value)))
}
