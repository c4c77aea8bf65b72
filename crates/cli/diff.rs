//! `diff RUN_A RUN_B`: what was changed between two runs, and what came of it.

use gazal_engine::{FieldDiff, StageDiff};

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::words;
use crate::workspace::{open_run, open_store};

pub(crate) fn diff(args: &Args, a: &str, b: &str, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    let ((_, a), (_, b)) = (open_run(&store, a)?, open_run(&store, b)?);
    let stages = gazal_engine::diff(&store, &a, &b);
    let (a, b) = (&a.header.run, &b.header.run);
    if out.json {
        out.json_line(&serde_json::json!({"a": a, "b": b, "stages": stages}));
    } else if stages.is_empty() {
        out.line(format!("{a} and {b} have the same results"));
    } else {
        out.line(format!("{a} -> {b}"));
        stages.iter().for_each(|stage| show(stage, out));
    }
    Ok(Exit::Done)
}

fn show(stage: &StageDiff, out: &mut Out) {
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "no result".to_string(), words::duration);
    out.line(format!("{}: {} -> {}", stage.name, time(stage.seconds.0), time(stage.seconds.1)));
    let rows = stage.fields.iter().chain(&stage.metrics).map(row).collect::<Vec<_>>();
    if !rows.is_empty() {
        out.line(words::table(&rows));
    }
}

fn row(field: &FieldDiff) -> Vec<String> {
    let change = match (field.a.as_ref().and_then(|a| a.as_f64()), field.b.as_ref().and_then(|b| b.as_f64())) {
        (Some(a), Some(b)) => format!("({:+.4})", b - a),
        _ => String::new(),
    };
    let [a, b] = [&field.a, &field.b].map(|value| value.as_ref().map_or_else(|| "not set".to_string(), words::value));
    vec![String::new(), field.field.clone(), format!("{a} -> {b}"), change]
}
