//! What the columns of untyped rows are, told from the rows themselves.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Number, Value};

use crate::{DataError, Row, rows};

/// The columns of rows, with what is in them. Nulls tell nothing. Numbers are 64-bit integers, unsigned ones where they
/// must be, and doubles as soon as one of them has a point. Everything else must stay what it was at first, since a
/// column has one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    pub(super) columns: Fields,
}

/// Named parts of a row or an object, in the order in which they were first seen.
pub(super) type Fields = Vec<(String, Shape)>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Nothing but nulls.
    Null,
    Boolean,
    Number(Numbers),
    Text,
    List(Box<Shape>),
    Object(Fields),
}

/// What there is among the numbers of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    points: bool,
    negative: bool,
    /// Integers above those that are signed.
    unsigned: bool,
    /// Integers that no double is equal to.
    inexact: bool,
}

/// The type of a column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberType {
    Integer,
    Unsigned,
    Double,
}

/// What does not fit, and where in a row.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Such as `a.b[].c`; empty for the row itself.
    column: String,
    message: String,
}

/// Objects with keys of their own in each row would be columns without end.
const MOST_FIELDS: usize = 10_000;

impl Schema {
    /// The columns of a file's rows, by one pass over it.
    ///
    /// # Errors
    /// The file cannot be read, or the first row that cannot have a type with those before it.
    pub fn of(file: &Path) -> Result<Schema, DataError> {
        let (mut schema, mut rows) = (Schema::default(), rows::read::<Row>(file)?);
        while let Some(row) = rows.next() {
            schema.widen(&row?).map_err(|misfit| misfit.at(file, rows.line()))?;
        }
        Ok(schema)
    }

    pub(super) fn widen(&mut self, row: &Row) -> Result<(), Misfit> {
        widen(&mut self.columns, row)
    }

    pub(super) fn message(&self) -> Result<TypePtr, ParquetError> {
        Ok(Arc::new(Type::group_type_builder("schema").with_fields(types(&self.columns)?).build()?))
    }
}

fn widen(fields: &mut Fields, object: &Row) -> Result<(), Misfit> {
    if object.is_empty() && fields.is_empty() {
        return Err(Misfit::new(
            "is an object without a key, which Parquet has no form for: drop it or write JSON Lines",
        ));
    }
    for (at, (name, value)) in object.iter().enumerate() {
        let at = match position(fields, name, at) {
            Some(at) => at,
            None if fields.len() == MOST_FIELDS => {
                return Err(Misfit::new(
                    "comes to more than 10,000 keys, each of them a column: write a list of pairs",
                ));
            }
            None => {
                fields.push((name.clone(), Shape::Null));
                fields.len() - 1
            }
        };
        fields[at].1.widen(value).map_err(|misfit| misfit.within(name))?;
    }
    Ok(())
}

/// Where a field is, which is most often where it is in the row.
pub(super) fn position<T>(fields: &[(String, T)], name: &str, likely: usize) -> Option<usize> {
    match fields.get(likely) {
        Some((there, _)) if there == name => Some(likely),
        _ => fields.iter().position(|(there, _)| there == name),
    }
}

impl Shape {
    fn widen(&mut self, value: &Value) -> Result<(), Misfit> {
        if *self == Shape::Null {
            *self = Shape::narrowest(value);
        }
        match (&mut *self, value) {
            (_, Value::Null) | (Shape::Boolean, Value::Bool(_)) | (Shape::Text, Value::String(_)) => Ok(()),
            (Shape::Number(numbers), Value::Number(number)) => numbers.widen(number).map_err(Misfit::new),
            (Shape::Object(fields), Value::Object(object)) => widen(fields, object),
            (Shape::List(element), Value::Array(items)) => {
                items.iter().try_for_each(|item| element.widen(item)).map_err(|misfit| misfit.within("[]"))
            }
            (before, value) => Err(Misfit::new(&format!("is {} here and {} before", kind(value), before.kind()))),
        }
    }

    fn narrowest(value: &Value) -> Shape {
        match value {
            Value::Null => Shape::Null,
            Value::Bool(_) => Shape::Boolean,
            Value::Number(_) => Shape::Number(Numbers::default()),
            Value::String(_) => Shape::Text,
            Value::Array(_) => Shape::List(Box::new(Shape::Null)),
            Value::Object(_) => Shape::Object(Vec::new()),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Shape::Null => "null",
            Shape::Boolean => "a boolean",
            Shape::Number(_) => "a number",
            Shape::Text => "a text",
            Shape::List(_) => "a list",
            Shape::Object(_) => "an object",
        }
    }

    fn of_type(&self, name: &str) -> Result<Type, ParquetError> {
        let (physical, logical) = match self {
            Shape::Null => (Physical::INT32, Some(LogicalType::Unknown)),
            Shape::Boolean => (Physical::BOOLEAN, None),
            Shape::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Shape::Number(numbers) => match numbers.of_type() {
                NumberType::Integer => (Physical::INT64, None),
                NumberType::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
                NumberType::Double => (Physical::DOUBLE, None),
            },
            Shape::List(element) => return list(name, element.of_type("element")?),
            Shape::Object(fields) => return optional(name, None, types(fields)?),
        };
        let column = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(logical).build()
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    Shape::narrowest(value).kind()
}

fn types(fields: &Fields) -> Result<Vec<TypePtr>, ParquetError> {
    fields.iter().map(|(name, shape)| shape.of_type(name).map(Arc::new)).collect()
}

/// In three levels, so that a list that is null, one that is empty and one of nulls differ.
fn list(name: &str, element: Type) -> Result<Type, ParquetError> {
    let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
    let repeated = repeated.with_fields(vec![Arc::new(element)]).build()?;
    optional(name, Some(LogicalType::List), vec![Arc::new(repeated)])
}

fn optional(name: &str, logical: Option<LogicalType>, fields: Vec<TypePtr>) -> Result<Type, ParquetError> {
    let group = Type::group_type_builder(name).with_repetition(Repetition::OPTIONAL);
    group.with_logical_type(logical).with_fields(fields).build()
}

impl Numbers {
    fn widen(&mut self, number: &Number) -> Result<(), &'static str> {
        match number.as_i128() {
            Some(integer) => {
                self.negative |= integer < 0;
                self.unsigned |= integer > i128::from(i64::MAX);
                self.inexact |= integer as f64 as i128 != integer;
            }
            None => self.points = true,
        }
        match self {
            Numbers { points: true, inexact: true, .. } => {
                Err("has numbers with a point and integers that no double is equal to: write one of them as texts")
            }
            Numbers { points: false, negative: true, unsigned: true, .. } => {
                Err("has integers below zero and above 9,223,372,036,854,775,807: write them as texts")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn of_type(self) -> NumberType {
        match self {
            Numbers { points: true, .. } => NumberType::Double,
            Numbers { unsigned: true, .. } => NumberType::Unsigned,
            _ => NumberType::Integer,
        }
    }
}

impl Misfit {
    pub(super) fn new(message: &str) -> Misfit {
        Misfit { column: String::new(), message: message.to_string() }
    }

    /// The same seen from outside, where the part is called `name`.
    pub(super) fn within(self, name: &str) -> Misfit {
        let dot = if self.column.is_empty() || self.column.starts_with('[') { "" } else { "." };
        Misfit { column: format!("{name}{dot}{}", self.column), ..self }
    }

    pub(super) fn at(self, path: &Path, row: usize) -> DataError {
        let subject = match self.column.as_str() {
            "" => "the row".to_string(),
            column => format!("the column `{column}`"),
        };
        DataError::Row { path: path.to_path_buf(), line: row, message: format!("{subject} {}", self.message) }
    }
}
