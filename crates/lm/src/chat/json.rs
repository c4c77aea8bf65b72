//! The filter `tojson` as transformers gives it to templates: Python's `json.dumps` with `ensure_ascii=False`, keys in
//! their order, nothing escaped for HTML.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, Value as Jinja, ValueKind};
use minijinja::{Error, ErrorKind};

/// How `json.dumps` writes.
struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    /// Between items, and between a key and its value.
    separators: (String, String),
    sort_keys: bool,
}

/// `value | tojson(ensure_ascii, indent, separators, sort_keys)`.
#[expect(clippy::needless_pass_by_value, reason = "how minijinja hands arguments over")]
pub fn tojson(value: &Jinja, positional: Rest<Jinja>, named: Kwargs) -> Result<String, Error> {
    let argument = |place: usize, name: &str| -> Result<Option<Jinja>, Error> {
        let given = named.get::<Option<Jinja>>(name)?.or_else(|| positional.get(place).cloned());
        Ok(given.filter(|value| !value.is_none()))
    };
    let truth = |value: Option<Jinja>| value.is_some_and(|value| value.is_true());
    let indent = argument(1, "indent")?.map(|value| indent(&value)).transpose()?;
    let separators = match argument(2, "separators")? {
        Some(pair) => (text(&pair.get_item_by_index(0)?)?, text(&pair.get_item_by_index(1)?)?),
        None => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
    };
    let style = Style {
        ensure_ascii: truth(argument(0, "ensure_ascii")?),
        sort_keys: truth(argument(3, "sort_keys")?),
        indent,
        separators,
    };
    named.assert_all_used()?;
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(out)
}

fn text(value: &Jinja) -> Result<String, Error> {
    value.as_str().map(str::to_string).ok_or_else(|| refused("separators of `tojson` are strings"))
}

/// A number of spaces, or the string itself.
fn indent(value: &Jinja) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Ok(" ".repeat(usize::from(u8::try_from(value.clone())?))),
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

impl Style {
    fn write(&self, value: &Jinja, depth: usize, out: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Map => return self.map(value, depth, out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item)).collect();
                return self.items(['[', ']'], items, depth, out);
            }
            kind => return Err(refused(format!("`tojson` cannot write what is {kind}"))),
        }
        Ok(())
    }

    fn map(&self, value: &Jinja, depth: usize, out: &mut String) -> Result<(), Error> {
        let mut items = Vec::new();
        for name in value.try_iter()? {
            items.push((Some(key(&name)?), value.get_item(&name)?));
        }
        if self.sort_keys {
            items.sort_by(|(left, _), (right, _)| left.cmp(right));
        }
        self.items(['{', '}'], items, depth, out)
    }

    fn items(
        &self,
        [open, close]: [char; 2],
        items: Vec<(Option<String>, Jinja)>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        out.push(open);
        let empty = items.is_empty();
        for (index, (key, item)) in items.into_iter().enumerate() {
            if index > 0 {
                out.push_str(&self.separators.0);
            }
            self.line(depth + 1, out);
            if let Some(key) = key {
                self.string(&key, out);
                out.push_str(&self.separators.1);
            }
            self.write(&item, depth + 1, out)?;
        }
        if !empty {
            self.line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ensure_ascii {
            out.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            if character.is_ascii() && character != '\u{7f}' {
                out.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// A key as `json.dumps` writes it: numbers, truth values and none become strings.
fn key(name: &Jinja) -> Result<String, Error> {
    Ok(match name.kind() {
        ValueKind::String => name.as_str().unwrap_or_default().to_string(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => if name.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number => number(name)?,
        kind => return Err(refused(format!("`tojson` cannot write a key that is {kind}"))),
    })
}

fn number(value: &Jinja) -> Result<String, Error> {
    match value.is_integer() {
        true => Ok(value.to_string()),
        false => Ok(float(f64::try_from(value.clone())?)),
    }
}

/// Python's `repr` of a float that is finite: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() { "NaN" } else { "Infinity" };
        return format!("{}{name}", if value < 0.0 { "-" } else { "" });
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
