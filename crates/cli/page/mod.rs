//! The page of a run: what ran, how it hangs together, how long it took, what it measured and what came out of what.
//!
//! One file that needs nothing else: no script, no request (its own policy forbids both, to what it embeds too), light
//! and dark, fit for paper. It is a record of the run, and in no key.

mod edges;
mod facts;
mod fold;
mod html;
mod layout;
mod lineage;
mod measured;
mod picture;
mod quote;
mod results;
mod stages;
mod story;
mod summary;
mod timeline;

use gazal_engine::EngineError;
use gazal_stages::page::{PICTURE_STYLE, STYLE};
use gazal_store::{RunDir, Store};

use facts::Facts;
use html::text;

const OWN_STYLE: &str = include_str!("page.css");

/// Nothing is loaded and nothing runs.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The page of a run, from what lies in its folder and in the store. `beside` says whether it will lie in the run's
/// folder, where the logs are.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn render(store: &Store, dir: &RunDir, beside: bool) -> Result<String, EngineError> {
    let facts = Facts::read(store, dir)?;
    let logs = stages::Logs::of(&facts, beside);
    let sections = [
        summary::show(&facts),
        summary::failures(&facts, &logs),
        picture::show(&facts),
        timeline::show(&facts),
        stages::show(&facts, &logs),
        measured::show(&facts),
        results::show(&facts),
        lineage::show(&facts),
        summary::environment(&facts),
    ];
    let title = format!("{}: run {}", text(&facts.header.pipeline), text(&facts.header.run));
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{PICTURE_STYLE}{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n{}<main>\n{}</main>\n</body>\n</html>\n",
        picture::marks(),
        sections.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::facts::{Stage, Standing};

    /// A stage that ran; the points of `a` are called `a@...`.
    pub(super) fn stage(name: &str) -> Stage {
        Stage {
            name: name.into(),
            base: name.split('@').next().unwrap_or(name).into(),
            kind: "exec".into(),
            standing: Standing::Ran,
            seconds: None,
            key: None,
            causes: Vec::new(),
            error: None,
            tries: Vec::new(),
            done: None,
            reads: Vec::new(),
            after: Vec::new(),
            paths: Default::default(),
            receipt: None,
            manifest: None,
        }
    }
}
