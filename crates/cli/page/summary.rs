//! The head of the page: what ran and how it ended, the command to do it again, what failed. And its foot: where.

use std::collections::BTreeSet;

use super::facts::{Facts, Stage, Standing};
use super::html::{list, section, some, state, text};
use super::quote;
use super::stages::{Logs, trouble};
use crate::words;

/// Failures that are told at the head of the page; the others are in the table.
const FAILURES: usize = 10;

pub(crate) fn show(facts: &Facts) -> String {
    let header = &facts.header;
    let (class, word) = ending(facts);
    let finished = header.finished.as_deref().map(|at| format!(", ended {}", moment(at))).unwrap_or_default();
    let took = words::duration(header.summary.as_ref().map_or(facts.end, |summary| summary.seconds));
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\"><span class=\"badge {class}\">{word}</span> Run <code>{}</code>, began {}{finished}, \
         took {took}.</p>\n{}{}{}</header>\n",
        text(&header.pipeline),
        text(&header.run),
        moment(&header.started),
        tiles(facts),
        settings(facts),
        command(facts),
    ) + NAVIGATION
}

const NAVIGATION: &str = "<nav><a href=\"#graph\">Graph</a> <a href=\"#timeline\">Timeline</a> <a href=\"#stages\">Stages</a> \
    <a href=\"#metrics\">Metrics</a> <a href=\"#results\">Results</a> <a href=\"#lineage\">Lineage</a> \
    <a href=\"#environment\">Environment</a></nav>\n";

/// `2026-01-02 03:04:05 UTC`
fn moment(at: &str) -> String {
    let plain = at.split('.').next().unwrap_or(at).trim_end_matches('Z').replacen('T', " ", 1);
    text(&plain) + " UTC"
}

/// A class and a word.
fn ending(facts: &Facts) -> (&'static str, &'static str) {
    let some = |standing| facts.count(standing) > 0;
    match &facts.header.summary {
        None if facts.alive => ("running", "is running"),
        None => ("killed", "was killed"),
        Some(_) if some(Standing::Interrupted) => ("interrupted", "was interrupted"),
        Some(_) if some(Standing::Failed) => ("failed", "failed"),
        Some(_) if facts.count(Standing::Hit) == facts.stages.len() => ("hit", "had nothing to do"),
        Some(_) => ("ran", "done"),
    }
}

/// How many stages stand how, and what was saved.
fn tiles(facts: &Facts) -> String {
    let there = Standing::ALL.into_iter().rev().map(|standing| (facts.count(standing), standing));
    let tile = |number: &str, what: &str| format!("<div class=\"tile\"><b>{number}</b>{what}</div>\n");
    let mut tiles: String = there
        .filter(|(count, _)| *count > 0)
        .map(|(count, standing)| tile(&count.to_string(), &state(standing)))
        .collect();
    if facts.saved() > 0.0 {
        tiles += &tile(&words::duration(facts.saved()), "saved by what was up to date");
    }
    let worked: f64 = facts.stages.iter().flat_map(|stage| &stage.tries).map(|one| one.end - one.start).sum();
    if worked > 0.0 {
        tiles += &tile(&words::duration(worked), "of work in all");
    }
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// What was asked for beside the file.
fn settings(facts: &Facts) -> String {
    let asked = &facts.header.requested;
    let codes = |words: Vec<String>| {
        words.iter().map(|word| format!("<code>{}</code>", text(word))).collect::<Vec<_>>().join(", ")
    };
    let set = asked.set.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let backend = |(stage, backend): &(Option<String>, String)| match stage {
        Some(stage) => format!("{stage}={backend}"),
        None => backend.clone(),
    };
    let rows = [
        ("Pipeline", vec![facts.header.file.display().to_string()]),
        ("Stages", asked.targets.clone()),
        ("Profiles", asked.profiles.clone()),
        ("Settings", set),
        ("Backends", asked.backend.iter().map(backend).collect()),
        ("From", asked.from.clone()),
        ("Until", asked.until.clone()),
    ];
    let mut rows: Vec<(String, String)> = rows
        .into_iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(name, words)| (name.into(), codes(words)))
        .collect();
    if asked.targets.is_empty() {
        rows.insert(1, ("Stages".into(), "all".into()));
    }
    if asked.single {
        rows.push(("Alone".into(), "nothing but the named stages".into()));
    }
    list(&rows)
}

fn command(facts: &Facts) -> String {
    let again = quote::line(&quote::run(&facts.header, facts.store.root()));
    format!(
        "<h3>To do it again</h3>\n<pre class=\"command\">{}</pre>\n<p class=\"soft\">What is in the store is not made again. Without \
         <code>--store</code>, in an empty folder, everything is.</p>\n",
        text(&again)
    )
}

/// What went wrong, before anything else; nothing where nothing did.
pub(crate) fn failures(facts: &Facts, logs: &Logs) -> String {
    let bad = |stage: &&Stage| matches!(stage.standing, Standing::Failed | Standing::Killed);
    let bad: Vec<&Stage> = facts.stages.iter().filter(bad).collect();
    if bad.is_empty() {
        return String::new();
    }
    let (shown, more) = some(&bad, FAILURES);
    let mut body: String = shown
        .iter()
        .map(|stage| {
            format!("<h3>{} {}</h3>\n{}", text(&stage.name), state(stage.standing), trouble(facts, stage, logs))
        })
        .collect();
    if more > 0 {
        body += &format!("<p>And {more} more, in the <a href=\"#stages\">table of stages</a>.</p>\n");
    }
    section("failures", "What went wrong", &body)
}

/// Where it ran, and with what.
pub(crate) fn environment(facts: &Facts) -> String {
    let header = &facts.header;
    let mut rows = vec![("Program".to_string(), text(&header.program)), ("Machine".into(), text(&header.host))];
    if let Some(machine) = &header.machine {
        let memory = if machine.memory == u64::MAX { "unknown".into() } else { words::bytes(machine.memory) };
        rows.push(("System".into(), text(&machine.system)));
        rows.push(("Cores".into(), machine.cpus.to_string()));
        rows.push(("Memory".into(), memory));
        rows.push(("CUDA devices".into(), machine.gpus.to_string()));
    }
    rows.push(("Backends".into(), backends(facts)));
    rows.push(("Made elsewhere".into(), elsewhere(facts)));
    rows.push(("Store".into(), format!("<code>{}</code>", text(&facts.store.root().display().to_string()))));
    rows.push(("Record".into(), format!("<code>{}</code>", text(&facts.dir.path().display().to_string()))));
    rows.push(("This page".into(), format!("made {}, from what the store holds", moment(&facts.made))));
    rows.retain(|(_, what)| !what.is_empty());
    section("environment", "Environment", &list(&rows))
}

/// `cpu f32 (burn-flex 0.22.1): base, sft`
fn backends(facts: &Facts) -> String {
    let computed = |stage: &Stage| {
        let compute = stage.manifest.as_ref()?.compute.as_ref()?;
        let numerics = if compute.numerics.is_empty() { String::new() } else { format!(" ({})", compute.numerics) };
        Some(format!("{} {}{numerics}", compute.backend, compute.precision))
    };
    let all: BTreeSet<String> = facts.stages.iter().filter_map(computed).collect();
    if all.is_empty() {
        "no stage computed on a device".into()
    } else {
        text(&all.into_iter().collect::<Vec<_>>().join("; "))
    }
}

/// Machines and programs behind the hits, where they are others.
fn elsewhere(facts: &Facts) -> String {
    let here = (&facts.header.host, &facts.header.program);
    let receipts = facts.stages.iter().filter_map(|stage| stage.receipt.as_ref());
    let others: BTreeSet<String> = receipts
        .filter(|receipt| (&receipt.host, &receipt.program) != here)
        .map(|receipt| format!("{} ({})", receipt.host, receipt.program))
        .collect();
    text(&others.into_iter().collect::<Vec<_>>().join(", "))
}
