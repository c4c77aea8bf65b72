//! Rows that fulfil an expression, in the language of Jinja templates (`minijinja`), with the row as `row`:
//!
//! ```jinja
//! row.answer | length > 10 and row.lang == "en" and "As an AI" not in row.answer
//! row.score | float >= 3.5 and "meta" in row and row.meta.source in ["a", "b"]
//! ```
//!
//! Operators, filters and tests are Jinja's, methods of texts and lists Python's (`row.id.startswith("x")`). Two things
//! are stricter, so that a mistake drops no rows unseen: what a row does not have is an error wherever it is asked for
//! (`"meta" in row` says whether it is there; `is defined` cannot), and the result must be true or false. An expression
//! knows neither time nor chance, calls no functions and has no loops, so that it comes to an end.
//!
//! A text is never a number, as in CSV: `row.score > 3` holds for every text, since that is how Jinja orders what cannot
//! be compared; `row.score | float > 3` is what is meant.

use std::sync::{Arc, LazyLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Jinja, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PlacedRow, Reason, Step, Verdict};
use crate::DataError;

static JINJA: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    jinja
});

/// The rows that stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    pub expression: String,
}

/// The step for an [`Expression`].
pub struct Filter {
    text: String,
    compiled: minijinja::Expression<'static, 'static>,
}

impl Filter {
    /// # Errors
    /// It is no expression, or it speaks of something else than `row`.
    pub fn new(expression: Expression) -> Result<Filter, DataError> {
        let text = expression.expression;
        let wrong = |message: String| DataError::parameter("expression", format!("{message} in `{text}`"));
        let compiled = JINJA.compile_expression_owned(text.clone()).map_err(|error| wrong(told(&error)))?;
        let mut unknown: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
        unknown.sort_unstable();
        match unknown.iter().find(|name| *name != "row") {
            Some(name) => Err(wrong(format!("`{name}` is not known, a column is written `row.{name}`,"))),
            None => Ok(Filter { compiled, text }),
        }
    }

    fn look(&self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let wrong = |message: String| row.error(format!("{message} in the filter `{}`", self.text));
        let result = self.compiled.eval(context! { row => jinja_object(&row.row) });
        let result = result.map_err(|error| wrong(told(&error)))?;
        match result.kind() {
            ValueKind::Bool => Ok(Verdict::kept_or(result.is_true(), || Reason::False)),
            _ => Err(wrong(format!("the result is {result:?}, which is neither true nor false,"))),
        }
    }
}

impl Step for Filter {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        self.look(row)
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        rows.par_iter().map(|row| self.look(row)).collect()
    }
}

fn told(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// An object or a list that has no undefined parts: to ask for one is an error.
#[derive(Debug)]
enum Strict {
    Object(Map<String, Value>),
    List(Vec<Value>),
}

fn jinja_object(map: &Map<String, Value>) -> Jinja {
    Jinja::from_object(Strict::Object(map.clone()))
}

fn jinja(value: &Value) -> Jinja {
    match value {
        Value::Object(map) => jinja_object(map),
        Value::Array(items) => Jinja::from_object(Strict::List(items.clone())),
        Value::Null => Jinja::from(()),
        Value::Bool(value) => Jinja::from(*value),
        Value::String(text) => Jinja::from(text.as_str()),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Jinja::from(value),
            (None, Some(value)) => Jinja::from(value),
            (None, None) => Jinja::from(number.as_f64()),
        },
    }
}

impl Object for Strict {
    /// An object says that it is any iterable of its keys: of a map, `in` would ask for the value.
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match **self {
            Strict::Object(_) => ObjectRepr::Iterable,
            Strict::List(_) => ObjectRepr::Seq,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let found = match &**self {
            Strict::Object(map) => key.as_str().and_then(|key| map.get(key)),
            Strict::List(items) => key.as_usize().and_then(|index| items.get(index)),
        };
        let missing = || Jinja::from(Error::new(ErrorKind::UndefinedError, format!("there is no {key:?}")));
        Some(found.map_or_else(missing, jinja))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &**self {
            Strict::Object(map) => Enumerator::Values(map.keys().map(|key| Jinja::from(key.as_str())).collect()),
            Strict::List(items) => Enumerator::Seq(items.len()),
        }
    }
}
