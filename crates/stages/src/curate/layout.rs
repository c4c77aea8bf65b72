//! Rows of published training sets as rows that stages train on.

use gazal_data::DataError;
use gazal_data::curation::PlacedRow;
use gazal_stage_api::Problem;
use gazal_tasks::training::Layout;
use serde_json::{Map, Value, json};

/// Each row's layout is told by its columns; what has a `prompt` and no known layout is a row already.
const AUTO: &str = "auto";

/// What is wrong with the name of a layout.
pub fn problem(name: &str) -> Option<Problem> {
    if name == AUTO || Layout::named(name).is_some() {
        return None;
    }
    let known: Vec<&str> = Layout::ALL.iter().map(|layout| layout.name()).collect();
    let problem = Problem::new("layout", format!("there is no layout `{name}`"));
    Some(problem.with_help(format!("use {AUTO}, or one of {}", known.join(", "))))
}

/// The row with the columns `prompt`, and as far as the layout has them `completion`, `answer`, and `item` for rewards.
///
/// # Errors
/// A row of no layout or of another one, with its place and field.
pub fn read(name: &str, placed: PlacedRow) -> Result<PlacedRow, DataError> {
    let value = Value::Object(placed.row.clone());
    let found = Layout::named(name).or_else(|| Layout::detect(&value));
    if found.is_none() && placed.row.contains_key("prompt") {
        return Ok(placed);
    }
    let layout = found.ok_or_else(|| {
        let columns: Vec<&str> = placed.row.keys().map(String::as_str).collect();
        placed.error(format!("this is no row of a known layout; its columns are {}", columns.join(", ")))
    })?;
    let read = layout.read(&value).map_err(|error| placed.error(format!("as {}: {error}", layout.name())))?;
    let id = read.id.clone().unwrap_or_else(|| format!("{}-{:08}", layout.name(), placed.number));
    let mut row = Map::from_iter([
        ("id".to_string(), json!(id)),
        ("source".to_string(), json!(read.source.as_deref().unwrap_or(layout.name()))),
        ("prompt".to_string(), json!(read.prompt())),
    ]);
    let more = [
        ("completion", read.completion().map(Value::from)),
        ("answer", read.answer.clone().map(Value::from)),
        ("item", read.item(layout.name(), &id).map(|item| json!(item))),
    ];
    row.extend(more.into_iter().filter_map(|(column, value)| Some((column.to_string(), value?))));
    Ok(PlacedRow { row, ..placed })
}
