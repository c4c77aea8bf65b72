//! What came out of what: for each final artifact the actions behind it, down to the files that were read; and each of
//! these actions with its key, its parameters and the contents that it read and made, as its manifest has them.

use std::collections::{BTreeSet, HashMap, HashSet};

use gazal_engine::Manifest;
use gazal_store::{Digest, Output};
use serde_json::Value;

use super::facts::{Facts, Stage};
use super::html::{folded, list, section, some, text};
use crate::words;

/// Final artifacts, actions and names of a chain that are shown.
const FINALS: usize = 40;
const ACTIONS: usize = 200;
const NAMES: usize = 40;
const FILES: usize = 50;

/// An output that no stage of the run reads.
struct Final<'a> {
    /// The place of its stage.
    at: usize,
    name: &'a str,
    output: &'a Output,
}

pub(crate) fn show(facts: &Facts) -> String {
    let finals = finals(facts);
    if finals.is_empty() {
        return section("lineage", "Lineage", "<p>No result of this run is in the store.</p>\n");
    }
    let needs = needs(facts);
    let (shown, more) = some(&finals, FINALS);
    let mut body = String::from("<p class=\"soft\">The final artifacts: what no stage of the run reads.</p>\n");
    let mut actions = BTreeSet::new();
    for one in shown {
        let chain = chain(one.at, &needs);
        body += &artifact(facts, one, &chain);
        actions.extend(chain);
    }
    if more > 0 {
        body += &format!("<p class=\"soft\">And {more} more final artifacts.</p>\n");
    }
    body += "<h3>Actions</h3>\n<p class=\"soft\">Everything that a result depends on is in its action's manifest; its digest is the key.</p>\n";
    let actions: Vec<usize> = actions.into_iter().collect();
    let (shown, more) = some(&actions, ACTIONS);
    let places = places(facts);
    body += &shown.iter().map(|&at| action(facts, at, &places)).collect::<String>();
    if more > 0 {
        body += &format!("<p class=\"soft\">And {more} more actions.</p>\n");
    }
    section("lineage", "Lineage", &body)
}

fn finals(facts: &Facts) -> Vec<Final<'_>> {
    let inputs = facts.stages.iter().flat_map(|stage| &stage.reads).flat_map(|input| &input.from);
    let read: HashSet<(&str, &str)> = inputs.map(|(stage, output)| (stage.as_str(), output.as_str())).collect();
    let mut finals = Vec::new();
    for (at, stage) in facts.stages.iter().enumerate() {
        let outputs = stage.receipt.iter().flat_map(|receipt| &receipt.outputs);
        let unread = outputs
            .filter(|(name, output)| output.role == "value" && !read.contains(&(stage.name.as_str(), name.as_str())));
        finals.extend(unread.map(|(name, output)| Final { at, name, output }));
    }
    // What came last is looked for first.
    finals.reverse();
    finals
}

/// What each stage needs directly.
fn needs(facts: &Facts) -> Vec<Vec<usize>> {
    let mut needs = vec![Vec::new(); facts.stages.len()];
    facts.edges.iter().for_each(|edge| needs[edge.to].push(edge.from));
    needs
}

/// A stage with all that it needs, in the order of the run.
fn chain(last: usize, needs: &[Vec<usize>]) -> BTreeSet<usize> {
    let (mut chain, mut open) = (BTreeSet::new(), vec![last]);
    while let Some(at) = open.pop() {
        if chain.insert(at) {
            open.extend(&needs[at]);
        }
    }
    chain
}

fn artifact(facts: &Facts, one: &Final, chain: &BTreeSet<usize>) -> String {
    let stage = &facts.stages[one.at];
    let names = names(facts, chain);
    let (names, more) = some(&names, NAMES);
    let more = if more > 0 { format!(" ← and {more} more") } else { String::new() };
    let files: Vec<String> = chain.iter().flat_map(|&at| files(&facts.stages[at])).collect();
    let mut rows = vec![
        ("Type".to_string(), text(&one.output.kind)),
        ("Content".into(), digest(&one.output.artifact.content)),
        ("Chain".into(), format!("{}{more}", names.join(" ← "))),
    ];
    if !files.is_empty() {
        let (files, more) = some(&files, FILES);
        let more = if more > 0 { format!("<br/>and {more} more") } else { String::new() };
        rows.push(("Files".into(), files.join("<br/>") + &more));
    }
    folded(&format!("<code>{}</code>", text(&format!("{}.{}", stage.name, one.name))), &list(&rows), true)
}

/// The links of a chain, last first; several points of a matrix are one.
fn names(facts: &Facts, chain: &BTreeSet<usize>) -> Vec<String> {
    let mut points: Vec<(&str, Vec<usize>)> = Vec::new();
    for &at in chain.iter().rev() {
        let base = facts.stages[at].base.as_str();
        match points.iter_mut().find(|(other, _)| *other == base) {
            Some((_, found)) => found.push(at),
            None => points.push((base, vec![at])),
        }
    }
    let name = |(base, found): (&str, Vec<usize>)| match found[..] {
        [at] => link(facts, at),
        _ => format!("<a href=\"#action-{}\">{} × {}</a>", found[found.len() - 1], text(base), found.len()),
    };
    points.into_iter().map(name).collect()
}

fn link(facts: &Facts, at: usize) -> String {
    format!("<a href=\"#action-{at}\">{}</a>", text(&facts.stages[at].name))
}

fn digest(digest: &Digest) -> String {
    format!("<code class=\"digest\">{digest}</code>")
}

/// `data/notes.txt 1f2e…`, for each file that path-typed parameters point at: in a manifest, names and digests stand for
/// them.
fn files(stage: &Stage) -> Vec<String> {
    let mut files = Vec::new();
    for (param, value) in stage.manifest.iter().flat_map(|manifest| &manifest.params) {
        let found = value.as_object().filter(|found| found.values().all(is_digest));
        let one = stage.paths.get(param).and_then(Value::as_str);
        for (name, digest) in found.into_iter().flatten() {
            let digest = digest.as_str().unwrap_or_default();
            files.push(format!("{} <code class=\"digest\">{}</code>", text(one.unwrap_or(name)), text(digest)));
        }
    }
    files
}

fn is_digest(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<Digest>().is_ok())
}

/// Of stages, by name.
fn places(facts: &Facts) -> HashMap<&str, usize> {
    facts.stages.iter().enumerate().map(|(at, stage)| (stage.name.as_str(), at)).collect()
}

fn action(facts: &Facts, at: usize, places: &HashMap<&str, usize>) -> String {
    let stage = &facts.stages[at];
    let title = format!("<span id=\"action-{at}\"><code>{}</code></span> {}", text(&stage.name), text(&stage.kind));
    let (Some(manifest), Some(receipt)) = (&stage.manifest, &stage.receipt) else {
        return folded(&title, "<p>Its receipt is not in the store.</p>\n", false);
    };
    let mut rows = vec![("Key".to_string(), stage.key.as_ref().map(digest).unwrap_or_default())];
    rows.push(("Kind".into(), text(&format!("{}, revision {}", manifest.kind, manifest.revision))));
    rows.push(("Made".into(), text(&made(receipt))));
    rows.extend(manifest.seed.map(|seed| ("Seed".into(), seed.to_string())));
    if let Some(compute) = &manifest.compute {
        rows.push((
            "Computed on".into(),
            text(&format!("{} {} {}", compute.backend, compute.precision, compute.numerics)),
        ));
    }
    rows.extend(manifest.service.as_ref().map(|service| ("Served by".into(), digest(service))));
    rows.push(("Parameters".into(), params(stage, manifest)));
    rows.extend(inputs(facts, stage, manifest, places));
    let outputs = receipt.outputs.iter();
    rows.extend(outputs.map(|(name, output)| {
        (format!("→ {name}"), format!("{} {}", text(&output.kind), digest(&output.artifact.content)))
    }));
    folded(&title, &list(&rows), false)
}

fn made(receipt: &gazal_store::Receipt) -> String {
    let at = receipt.finished.split('.').next().unwrap_or_default().replacen('T', " ", 1);
    format!("{at} UTC on {} by {}, in {}", receipt.host, receipt.program, words::duration(receipt.seconds))
}

/// Those that are not at their defaults: a manifest has no others.
fn params(stage: &Stage, manifest: &Manifest) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (name, value) in &manifest.params {
        let written = stage.paths.get(name).map(|written| format!(" ({written})")).unwrap_or_default();
        lines.push(format!("<code>{}</code>", text(&format!("{name} = {value}{written}"))));
    }
    if lines.is_empty() { "all at their defaults".into() } else { lines.join("<br/>") }
}

/// Ports with the contents that were read, and who made them.
fn inputs(facts: &Facts, stage: &Stage, manifest: &Manifest, places: &HashMap<&str, usize>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (port, digests) in &manifest.inputs {
        let from: Vec<&(String, String)> =
            stage.reads.iter().filter(|input| input.port == *port).flat_map(|input| &input.from).collect();
        let whose = |index: usize| match from.get(index).filter(|_| from.len() == digests.len()) {
            Some((name, output)) => match places.get(name.as_str()) {
                Some(&at) => format!("{}.{} ", link(facts, at), text(output)),
                None => text(&format!("{name}.{output} ")),
            },
            None => String::new(),
        };
        let (shown, more) = some(digests, NAMES);
        let mut lines: Vec<String> = shown.iter().enumerate().map(|(index, one)| whose(index) + &digest(one)).collect();
        lines.extend((more > 0).then(|| format!("and {more} more")));
        rows.push((format!("← {port}"), lines.join("<br/>")));
    }
    rows
}
