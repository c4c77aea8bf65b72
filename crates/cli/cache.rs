//! `cache ls` and `cache verify`.

use serde_json::json;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::words;
use crate::workspace::open_store;

pub(crate) fn list(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    let usage = store.usage()?;
    if out.json {
        let parts: Vec<_> = usage
            .parts
            .iter()
            .map(|part| json!({"name": part.name, "files": part.files, "bytes": part.bytes}))
            .collect();
        out.json_line(&json!({"store": store.root(), "bytes": usage.bytes(), "parts": parts}));
        return Ok(Exit::Done);
    }
    let mut rows: Vec<Vec<String>> = usage
        .parts
        .iter()
        .map(|part| vec![part.name.into(), format!("{} files", part.files), words::bytes(part.bytes)])
        .collect();
    rows.push(vec!["all".into(), String::new(), words::bytes(usage.bytes())]);
    out.line(store.root().display());
    out.line(words::table(&rows));
    Ok(Exit::Done)
}

pub(crate) fn verify(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    let damage: Vec<String> = store.verify()?.iter().map(ToString::to_string).collect();
    if out.json {
        out.json_line(&json!({"damage": damage}));
    } else if damage.is_empty() {
        out.line("every byte is what it was");
    } else {
        damage.iter().for_each(|one| out.line(one));
    }
    Ok(if damage.is_empty() { Exit::Done } else { Exit::Store })
}
