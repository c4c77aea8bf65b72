//! `cache`: what lies in the store, whether it is whole, what stays, what goes, and how it travels.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use gazal_engine::{PlanState, read_record};
use gazal_store::{Collect, Collected, Digest, Store, Verify};
use serde_json::json;

use crate::args::{Args, CacheVerb, GcArgs, Which};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::{Workspace, open_run, open_store};
use crate::{App, words};

pub(crate) fn cache(app: &App, args: &Args, verb: &CacheVerb, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    match verb {
        CacheVerb::Ls => list(&store, out),
        CacheVerb::Verify { sample, seed } => verify(&store, &Verify { sample: *sample, seed: *seed }, out),
        CacheVerb::Gc(gc) => collect(&store, gc, out),
        CacheVerb::Pin(which) => pin(app, args, which, &store, out),
        CacheVerb::Unpin { name } => unpin(&store, name, out),
        CacheVerb::Rm(which) => remove(app, args, which, &store, out),
        CacheVerb::Export { which, to } => export(app, args, which, (&store, to), out),
        CacheVerb::Import { bundle } => import(&store, bundle, out),
    }
}

fn list(store: &Store, out: &mut Out) -> Result<Exit, Failure> {
    let (usage, pins) = (store.usage()?, store.pins()?);
    if out.json {
        let part = |part: &gazal_store::Part| json!({"name": part.name, "files": part.files, "bytes": part.bytes});
        let parts: Vec<_> = usage.parts.iter().map(part).collect();
        out.json_line(&json!({"store": store.root(), "bytes": usage.bytes(), "parts": parts, "pins": pins}));
        return Ok(Exit::Done);
    }
    let row =
        |part: &gazal_store::Part| vec![part.name.into(), format!("{} files", part.files), words::bytes(part.bytes)];
    let mut rows: Vec<Vec<String>> = usage.parts.iter().map(row).collect();
    rows.push(vec!["all".into(), String::new(), words::bytes(usage.bytes())]);
    out.line(store.root().display());
    out.line(words::table(&rows));
    pins.iter().for_each(|(name, key)| out.line(format!("pinned: {name} ({})", key.short())));
    Ok(Exit::Done)
}

fn verify(store: &Store, verify: &Verify, out: &mut Out) -> Result<Exit, Failure> {
    let damage: Vec<String> = store.verify_some(verify, &mut |_, _| {})?.iter().map(ToString::to_string).collect();
    if out.json {
        out.json_line(&json!({"damage": damage}));
    } else if damage.is_empty() {
        out.line("every byte is what it was");
    } else {
        damage.iter().for_each(|one| out.line(one));
    }
    Ok(if damage.is_empty() { Exit::Done } else { Exit::Store })
}

fn collect(store: &Store, gc: &GcArgs, out: &mut Out) -> Result<Exit, Failure> {
    let collected = store.collect(&Collect {
        max_size: gc.max_size,
        keep: reached(store, gc.recent)?,
        grace: gc.grace,
        forget: gc.forget,
        keep_runs: gc.keep_runs,
        dry_run: gc.dry_run,
        ..Collect::default()
    })?;
    tell(&collected, if gc.dry_run { "would be removed" } else { "removed" }, out);
    if let Some(limit) = gc.max_size.filter(|limit| collected.left() > *limit && !out.json) {
        let (left, limit) = (words::bytes(collected.left()), words::bytes(limit));
        out.line(format!("{left} stay, more than {limit}: pins, living runs and the latest {} keep them", gc.recent));
    }
    Ok(Exit::Done)
}

/// The actions that living runs and the latest ones had results of.
fn reached(store: &Store, recent: usize) -> Result<BTreeSet<Digest>, Failure> {
    let records = store.runs()?.into_iter().rev().filter_map(|dir| read_record(&dir).ok());
    let kept = records.enumerate().filter(|(age, record)| *age < recent || record.alive);
    Ok(kept.flat_map(|(_, record)| record.stages.into_iter().filter_map(|stage| stage.key)).collect())
}

fn tell(collected: &Collected, what: &str, out: &mut Out) {
    if out.json {
        let removed: Vec<_> = collected
            .removed
            .iter()
            .map(|(name, one)| json!({"name": name, "count": one.count, "bytes": one.bytes}))
            .collect();
        let evicted: Vec<_> =
            collected.evicted.iter().map(|one| json!({"key": one.key, "seconds": one.seconds})).collect();
        out.json_line(&json!({
            "removed": removed, "evicted": evicted, "freed": collected.freed(), "left": collected.left(),
        }));
        return;
    }
    let row = |(name, one): (&&str, &gazal_store::Removed)| {
        vec![(*name).to_string(), one.count.to_string(), words::bytes(one.bytes)]
    };
    let rows: Vec<Vec<String>> = collected.removed.iter().map(row).collect();
    if !rows.is_empty() {
        out.line(words::table(&rows));
    }
    let seconds = collected.evicted.iter().map(|one| one.seconds).sum();
    let again = match collected.evicted.len() {
        0 => String::new(),
        count => format!("; {count} results let go, {} to make again", words::duration(seconds)),
    };
    out.line(format!("{} {what}, {} left{again}", words::bytes(collected.freed()), words::bytes(collected.left())));
}

/// The stages that the command line names, with the keys of their results.
fn results(app: &App, args: &Args, which: &Which, store: &Store) -> Result<Vec<(String, Digest)>, Failure> {
    if let Some(id) = &which.run {
        let (_, record) = open_run(store, id)?;
        let named = |name: &String| which.words.is_empty() || which.words.contains(name);
        let stages = record.stages.into_iter().filter(|stage| named(&stage.name));
        let pipeline = record.header.pipeline;
        return Ok(stages.filter_map(|stage| Some((format!("{pipeline}/{}", stage.name), stage.key?))).collect());
    }
    let workspace = Workspace::open(app, args, which)?;
    let targets = workspace.select()?.targets;
    let plan =
        workspace.with_options(store.clone(), &[], |options| gazal_engine::plan(&workspace.pipeline, options))?;
    let named = |name: &str| targets.iter().any(|&index| workspace.pipeline.stages[index].name == name);
    let mut found = Vec::new();
    for planned in plan.stages.into_iter().filter(|planned| named(&planned.name)) {
        let key = planned.key.filter(|_| planned.state == PlanState::Hit);
        let missing = || Failure::wrong(format!("`{}` has no result yet", planned.name), "gazal-pipe run FILE STAGE");
        found.push((format!("{}/{}", workspace.pipeline.name, planned.name), key.ok_or_else(missing)?));
    }
    Ok(found)
}

fn pin(app: &App, args: &Args, which: &Which, store: &Store, out: &mut Out) -> Result<Exit, Failure> {
    for (name, key) in results(app, args, which, store)? {
        store.pin(&name, &key)?;
        told(&json!({"pin": name, "key": key}), &format!("pinned: {name} ({})", key.short()), out);
    }
    Ok(Exit::Done)
}

fn unpin(store: &Store, name: &str, out: &mut Out) -> Result<Exit, Failure> {
    if !store.unpin(name)? {
        return Err(Failure::wrong(format!("there is no pin `{name}`"), "gazal-pipe cache ls shows them"));
    }
    told(&json!({"unpin": name}), &format!("let go: {name}"), out);
    Ok(Exit::Done)
}

fn remove(app: &App, args: &Args, which: &Which, store: &Store, out: &mut Out) -> Result<Exit, Failure> {
    for (name, key) in results(app, args, which, store)? {
        let collected = store.remove(&key)?;
        if !out.json {
            out.line(&name);
        }
        tell(&collected, "removed", out);
    }
    Ok(Exit::Done)
}

fn export(app: &App, args: &Args, which: &Which, (store, to): (&Store, &Path), out: &mut Out) -> Result<Exit, Failure> {
    let keys: Vec<Digest> = results(app, args, which, store)?.into_iter().map(|(_, key)| key).collect();
    let file = File::create(to).map_err(|error| unusable(to, &error))?;
    store.export(&keys, &mut BufWriter::new(file))?;
    told(&json!({"bundle": to, "results": keys.len()}), &format!("{} results -> {}", keys.len(), to.display()), out);
    Ok(Exit::Done)
}

fn import(store: &Store, bundle: &Path, out: &mut Out) -> Result<Exit, Failure> {
    let file = File::open(bundle).map_err(|error| unusable(bundle, &error))?;
    let imported = store.import(&mut BufReader::new(file))?;
    let (new, known) = (imported.receipts.len(), imported.known.len());
    let told_bytes = words::bytes(imported.bytes);
    let told_json = json!({"results": new, "known": known, "bytes": imported.bytes});
    told(&told_json, &format!("{new} results came in with {told_bytes}, {known} were there"), out);
    Ok(Exit::Done)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::wrong(format!("cannot use {}: {error}", path.display()), "")
}

fn told(value: &serde_json::Value, text: &str, out: &mut Out) {
    if out.json { out.json_line(value) } else { out.line(text) }
}
