//! `cache`: what lies in the store, whether it is whole, what stays, what goes, and how it travels.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use gazal_engine::{PlanState, read_record};
use gazal_spec::Severity;
use gazal_store::{Collect, Collected, Digest, Remote, Store, Verify};
use serde_json::json;

use crate::args::{Args, CacheVerb, GcArgs, Which};
use crate::failure::{Exit, Failure, Note};
use crate::out::Out;
use crate::workspace::{Workspace, open_run, open_store};
use crate::{App, words};

pub(crate) fn cache(app: &App, args: &Args, verb: &CacheVerb, out: &mut Out) -> Result<Exit, Failure> {
    let store = || open_store(args);
    match verb {
        CacheVerb::Ls => list(&store()?, out),
        CacheVerb::Verify { sample, seed } => verify(&store()?, &Verify { sample: *sample, seed: *seed }, out),
        CacheVerb::Gc(gc) => collect(&store()?, gc, out),
        CacheVerb::Pin(which) => pin(&results(app, args, which)?, out),
        CacheVerb::Unpin { name } => unpin(&store()?, name, out),
        CacheVerb::Rm(which) => remove(&results(app, args, which)?, out),
        CacheVerb::Export { which, to } => export(&results(app, args, which)?, to, out),
        CacheVerb::Import { bundle } => import(&store()?, bundle, out),
        CacheVerb::Push(which) => push(&results(app, args, which)?, out),
        CacheVerb::Pull(which) => pull(&results(app, args, which)?, out),
        CacheVerb::Key => {
            let key = store()?.public_key()?;
            told(&json!({"key": key.to_string()}), &key.to_string(), out);
            Ok(Exit::Done)
        }
        CacheVerb::Trust { name, key } => {
            store()?.trust(name, key)?;
            told(&json!({"trust": name}), &format!("trusted: {name}"), out);
            Ok(Exit::Done)
        }
        CacheVerb::Distrust { name } => distrust(&store()?, name, out),
    }
}

/// A remote for verbs that are about one.
fn remote_of(store: &Store) -> Result<&Remote, Failure> {
    let help = "--remote URL, $GAZAL_REMOTE, or `remote` under `[pipeline]`";
    let remote = store.remote().ok_or_else(|| Failure::wrong("no remote is named", help))?;
    remote.check()?;
    Ok(remote)
}

fn push(results: &Results, out: &mut Out) -> Result<Exit, Failure> {
    let store = &results.store;
    if !remote_of(store)?.mode().writes() {
        return Err(Failure::wrong("the remote is only read from", "--remote-mode read-write"));
    }
    for (name, key) in &results.keys {
        let Some(pushed) = store.push(key)? else { continue };
        let conflict = if pushed.conflicts.is_empty() { "" } else { "; the remote has another result for it" };
        let text = format!("{name}: {} sent{conflict}", words::bytes(pushed.bytes));
        told(
            &json!({"push": name, "key": key, "bytes": pushed.bytes, "conflicts": pushed.conflicts.len()}),
            &text,
            out,
        );
    }
    Ok(Exit::Done)
}

fn pull(results: &Results, out: &mut Out) -> Result<Exit, Failure> {
    let store = &results.store;
    let remote = remote_of(store)?;
    for (name, key) in &results.keys {
        let there = store.pull(key)?.is_some();
        let text = format!("{name}: {}", if there { "here" } else { "not at the remote" });
        told(&json!({"pull": name, "key": key, "here": there}), &text, out);
    }
    tell_refusals(remote, out);
    Ok(Exit::Done)
}

/// What was there and was not believed, or why nothing was asked.
pub(crate) fn tell_refusals(remote: &Remote, out: &mut Out) {
    let refused = remote.refused().into_iter().map(|refused| refused.to_string());
    for text in refused.chain(remote.warning()) {
        out.complain(&Note { severity: Severity::Warning, ..Note::error(text) }, None);
    }
}

fn distrust(store: &Store, name: &str, out: &mut Out) -> Result<Exit, Failure> {
    if !store.distrust(name)? {
        return Err(Failure::wrong(format!("nobody is trusted as `{name}`"), "the names are those of STORE/trust"));
    }
    told(&json!({"distrust": name}), &format!("trusted no more: {name}"), out);
    Ok(Exit::Done)
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
    let collected = store.clone().detach().collect(&Collect {
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

/// The stages that the command line names, as PIPELINE/STAGE, with the keys of their results.
struct Results {
    store: Store,
    keys: Vec<(String, Digest)>,
}

fn results(app: &App, args: &Args, which: &Which) -> Result<Results, Failure> {
    if let Some(id) = &which.run {
        let store = open_store(args)?;
        let (_, record) = open_run(&store, id)?;
        let named = |name: &String| which.words.is_empty() || which.words.contains(name);
        let stages = record.stages.into_iter().filter(|stage| named(&stage.name));
        let pipeline = record.header.pipeline;
        let keys = stages.filter_map(|stage| Some((format!("{pipeline}/{}", stage.name), stage.key?))).collect();
        return Ok(Results { store, keys });
    }
    let workspace = Workspace::open(app, args, which)?;
    let store = workspace.open_store(args)?;
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
    Ok(Results { store, keys: found })
}

fn pin(results: &Results, out: &mut Out) -> Result<Exit, Failure> {
    for (name, key) in &results.keys {
        results.store.pin(name, key)?;
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

fn remove(results: &Results, out: &mut Out) -> Result<Exit, Failure> {
    for (name, key) in &results.keys {
        let collected = results.store.remove(key)?;
        if !out.json {
            out.line(name);
        }
        tell(&collected, "removed", out);
    }
    Ok(Exit::Done)
}

fn export(results: &Results, to: &Path, out: &mut Out) -> Result<Exit, Failure> {
    let keys: Vec<Digest> = results.keys.iter().map(|(_, key)| *key).collect();
    let file = File::create(to).map_err(|error| unusable(to, &error))?;
    results.store.export(&keys, &mut BufWriter::new(file))?;
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
