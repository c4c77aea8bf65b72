//! `kinds`: what stages there are, and the parameters of one.

use gazal_stage_api::DynKind;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::{App, words};

pub(crate) fn kinds(app: &App, name: Option<&str>, out: &mut Out) -> Result<Exit, Failure> {
    match name {
        None => list(app, out),
        Some(name) => {
            let all: Vec<&str> = app.kinds.iter().map(|kind| kind.name()).collect();
            let unknown = || Failure::wrong(format!("there is no stage kind `{name}`"), &all.join(", "));
            show(app.kinds.get(name).ok_or_else(unknown)?, out);
        }
    }
    Ok(Exit::Done)
}

fn list(app: &App, out: &mut Out) {
    if out.json {
        let kinds: Vec<Value> = app.kinds.iter().map(as_json).collect();
        out.json_line(&json!({"kinds": kinds}));
        return;
    }
    let rows: Vec<Vec<String>> =
        app.kinds.iter().map(|kind| vec![kind.name().to_string(), kind.doc().to_string()]).collect();
    out.line(words::table(&rows));
}

fn as_json(kind: &'static dyn DynKind) -> Value {
    let traits = kind.traits();
    json!({
        "name": kind.name(),
        "revision": kind.revision(),
        "doc": kind.doc(),
        "seeded": traits.seeded,
        "computes": traits.computes,
        "params": kind.schema(),
    })
}

fn show(kind: &'static dyn DynKind, out: &mut Out) {
    if out.json {
        out.json_line(&as_json(kind));
        return;
    }
    out.line(format!("{}: {}", kind.name(), kind.doc()));
    let schema = kind.schema();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let rows: Vec<Vec<String>> = properties
        .iter()
        .map(|(name, property)| {
            let default = property.get("default").map_or_else(|| "required".to_string(), Value::to_string);
            vec![format!("  {name}"), default, text(property.get("description"))]
        })
        .collect();
    out.line(words::table(&rows));
}
