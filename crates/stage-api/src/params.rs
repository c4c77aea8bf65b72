//! Parameters between their typed form and the JSON that files, keys and explanations use.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A mistake in a stage's parameters, found by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The parameter, dotted for a nested one; empty when it is about the whole table.
    pub field: String,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    pub fn new(field: &str, message: impl Into<String>) -> Problem {
        Problem { field: field.into(), message: message.into(), help: None }
    }

    pub fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Reads a kind's typed parameters from a table.
///
/// # Errors
/// One [`Problem`] that names the field where serde stopped.
pub fn parse<P: DeserializeOwned>(table: &Map<String, Value>) -> Result<P, Problem> {
    // Keeping track of the path costs more than reading: only for a table with a mistake.
    if let Ok(parsed) = P::deserialize(table) {
        return Ok(parsed);
    }
    serde_path_to_error::deserialize(table).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Problem { field, message: error.inner().to_string(), help: None }
    })
}

/// The canonical table of `table`: every parameter that differs from its default, by its canonical name.
///
/// A parameter is at its default when the table parses to the same value without it. So a new parameter with a
/// default changes no key.
///
/// # Errors
/// As [`parse`].
pub fn canonical<P: Serialize + DeserializeOwned>(table: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let full = to_table(&parse::<P>(table)?)?;
    let mut kept = Map::new();
    // What was not written is at its default, unless it was written under another name.
    let aliases = table.keys().any(|name| !full.contains_key(name));
    for (name, value) in full.iter().filter(|(name, _)| aliases || table.contains_key(*name)) {
        let mut without = full.clone();
        without.remove(name);
        let default = parse::<P>(&without).ok().map(|params| to_table(&params)).transpose()?;
        if default.as_ref().and_then(|table| table.get(name)) != Some(value) {
            kept.insert(name.clone(), value.clone());
        }
    }
    Ok(kept)
}

/// The value of a parameter by its name, or for `list[].field` those of the tables in a list, in their order: texts, and
/// the texts of lists.
pub fn lookup(table: &Map<String, Value>, name: &str) -> Option<Value> {
    let Some((list, field)) = name.split_once("[].") else { return table.get(name).cloned() };
    let found = table.get(list)?.as_array()?.iter().filter_map(|one| one.get(field));
    let flat = found.flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
    Some(Value::Array(flat.collect()))
}

fn to_table<P: Serialize>(params: &P) -> Result<Map<String, Value>, Problem> {
    match serde_json::to_value(params) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(_) => Err(Problem::new("", "parameters must be a table")),
        Err(error) => Err(Problem::new("", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Toy {
        path: String,
        #[serde(default = "ten")]
        steps: u32,
        #[serde(default)]
        note: Option<String>,
    }

    fn ten() -> u32 {
        10
    }

    fn table(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn defaults_are_left_out_of_the_canonical_table() {
        let explicit = canonical::<Toy>(&table(&json!({"path": "a", "steps": 10, "note": null})));
        let implicit = canonical::<Toy>(&table(&json!({"path": "a"})));
        assert_eq!(explicit, implicit);
        assert_eq!(implicit, Ok(table(&json!({"path": "a"}))));
    }

    #[test]
    fn values_of_a_list_are_gathered() {
        let params = table(&json!({"path": "a", "rewards": ["x", {"sources": ["b", "c"]}, {"sources": "d"}]}));
        assert_eq!(lookup(&params, "path"), Some(json!("a")));
        assert_eq!(lookup(&params, "rewards[].sources"), Some(json!(["b", "c", "d"])));
        assert_eq!((lookup(&params, "none"), lookup(&params, "none[].x")), (None, None));
    }

    #[test]
    fn a_changed_value_stays() {
        assert_eq!(
            canonical::<Toy>(&table(&json!({"path": "a", "steps": 11}))),
            Ok(table(&json!({"path": "a", "steps": 11})))
        );
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let problem = parse::<Toy>(&table(&json!({"path": "a", "steps": "many"}))).err();
        assert_eq!(problem.map(|problem| problem.field), Some("steps".to_string()));
    }
}
