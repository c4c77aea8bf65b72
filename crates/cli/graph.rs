//! `graph`: the stages as Mermaid, Graphviz or JSON.

use gazal_spec::{Pipeline, Stage};
use serde_json::json;

use crate::App;
use crate::args::{Args, Format, GraphArgs};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::Workspace;

pub(crate) fn graph(app: &App, args: &Args, verb: &GraphArgs, out: &mut Out) -> Result<Exit, Failure> {
    let workspace = Workspace::open(app, args, &verb.which)?;
    let selected = workspace.select()?.all;
    if out.json {
        out.json_line(&as_json(&workspace.pipeline, &selected));
        return Ok(Exit::Done);
    }
    out.line(match verb.format {
        Format::Mermaid => mermaid(&workspace.pipeline, &selected),
        Format::Dot => dot(&workspace.pipeline, &selected),
    });
    Ok(Exit::Done)
}

/// `(from, to, port)` for each connection, once.
fn edges(pipeline: &Pipeline, selected: &[usize]) -> Vec<(usize, usize, String)> {
    let mut edges = Vec::new();
    for &to in selected {
        for input in &pipeline.stages[to].inputs {
            let found = input.from.iter().map(|from| (from.stage, to, input.port.clone()));
            found.for_each(|edge| {
                if !edges.contains(&edge) {
                    edges.push(edge)
                }
            });
        }
    }
    edges
}

fn mermaid(pipeline: &Pipeline, selected: &[usize]) -> String {
    let mut lines = vec!["flowchart TD".to_string()];
    let quoted = |stage: &Stage| format!("{} : {}", stage.name, stage.kind.name()).replace('"', "#quot;");
    lines.extend(selected.iter().map(|&index| format!("  s{index}[\"{}\"]", quoted(&pipeline.stages[index]))));
    lines.extend(edges(pipeline, selected).iter().map(|(from, to, port)| format!("  s{from} -->|{port}| s{to}")));
    lines.join("\n")
}

fn dot(pipeline: &Pipeline, selected: &[usize]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut lines = vec![format!("digraph {} {{", quoted(&pipeline.name)), "  node [shape=box];".into()];
    let label = |stage: &Stage| quoted(&format!("{} : {}", stage.name, stage.kind.name()));
    lines.extend(selected.iter().map(|&index| format!("  s{index} [label={}];", label(&pipeline.stages[index]))));
    lines.extend(
        edges(pipeline, selected)
            .iter()
            .map(|(from, to, port)| format!("  s{from} -> s{to} [label={}];", quoted(port))),
    );
    lines.push("}".into());
    lines.join("\n")
}

fn as_json(pipeline: &Pipeline, selected: &[usize]) -> serde_json::Value {
    let name = |index: usize| pipeline.stages[index].name.as_str();
    let stages: Vec<_> = selected
        .iter()
        .map(|&index| json!({"name": name(index), "kind": pipeline.stages[index].kind.name()}))
        .collect();
    let edges: Vec<_> = edges(pipeline, selected)
        .iter()
        .map(|(from, to, port)| json!({"from": name(*from), "to": name(*to), "port": port}))
        .collect();
    json!({"pipeline": pipeline.name, "stages": stages, "edges": edges})
}
