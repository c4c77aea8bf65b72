//! What templates expect of Python and Jinja2 that `minijinja` does not have, or does in another way.

use chrono::DateTime;
use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Value as Jinja, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, escape_formatter};

use super::json;

/// `raise_exception(message)`.
pub fn raise_exception(message: &str) -> Result<Jinja, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// `strftime_now(format)`, by the clock that the caller gave.
pub fn strftime_now(now: Option<i64>) -> Jinja {
    Jinja::from_function(move |format: &str| {
        let failed = |message: String| Error::new(ErrorKind::InvalidOperation, message);
        let now = now.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let now = now.ok_or_else(|| failed("`strftime_now` asks for the date, and none is given".into()))?;
        let items: Vec<Item> = StrftimeItems::new(format).collect();
        match items.contains(&Item::Error) {
            true => Err(failed(format!("`strftime_now` does not know the format `{format}`"))),
            false => Ok(now.naive_utc().format_with_items(items.iter()).to_string()),
        }
    })
}

/// Whether Python's `iter` takes it: none is nothing to iterate over.
pub fn is_iterable(value: &Jinja) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// Whether it has a length and items, as Jinja2 asks: texts and maps have.
pub fn is_sequence(value: &Jinja) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
}

/// Writes what `{{ value }}` says: floats as Python does.
pub fn write(out: &mut Output, state: &mut State, value: &Jinja) -> Result<(), Error> {
    match float(value) {
        Some(text) => Ok(out.write_str(&text)?),
        None => escape_formatter(out, state, value),
    }
}

/// `value | string`, Python's `str`.
pub fn string(value: &Jinja) -> String {
    float(value).unwrap_or_else(|| value.to_string())
}

fn float(value: &Jinja) -> Option<String> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    let value = f64::try_from(value.clone()).ok().filter(|value| is_float && value.is_finite())?;
    Some(json::float(value))
}
