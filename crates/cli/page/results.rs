//! The pages among the results, each in a frame of its own: their styles do not meet, their scripts do not run, and on
//! paper, where a frame cannot grow, their text takes its place.

use std::fs;
use std::path::Path;

use gazal_stage_api::PortType;
use gazal_store::Output;

use super::facts::{Facts, Stage};
use super::html::{section, text};

/// A larger page is named and not embedded.
const LARGEST: u64 = 4 << 20;
/// Pages that are embedded.
const MOST: usize = 8;

/// No scripts, forms, windows or downloads. Of the same origin, so that it is drawn within this page's process: what
/// that would allow takes a script.
const SANDBOX: &str = "allow-same-origin";

pub(crate) fn show(facts: &Facts) -> String {
    let mut pages = Vec::new();
    for stage in &facts.stages {
        let outputs = stage.receipt.iter().flat_map(|receipt| &receipt.outputs);
        pages.extend(
            outputs
                .filter(|(_, output)| output.kind == PortType::Report.name())
                .map(|(name, output)| (stage, name, output)),
        );
    }
    if pages.is_empty() {
        return section("results", "Results", "<p>No stage of this run wrote a page.</p>\n");
    }
    let body: String = pages.iter().take(MOST).map(|(stage, name, output)| page(facts, stage, name, output)).collect();
    let more = pages.len().saturating_sub(MOST);
    let more = if more > 0 { format!("<p class=\"soft\">And {more} more in the store.</p>\n") } else { String::new() };
    section("results", "Results", &(body + &more))
}

fn page(facts: &Facts, stage: &Stage, name: &str, output: &Output) -> String {
    let title = text(&format!("{}.{name}", stage.name));
    let Ok(folder) = facts.store.view(&output.artifact) else {
        return format!("<h3><code>{title}</code></h3>\n<p>Its bytes are no longer in the store.</p>\n");
    };
    let (page, words) = (folder.join("report.html"), fs::read(folder.join("report.txt")).unwrap_or_default());
    let words = String::from_utf8_lossy(&words);
    let paper = if words.is_empty() { String::new() } else { format!("<pre class=\"paper\">{}</pre>\n", text(&words)) };
    let place = format!("<p class=\"soft\">By itself: <code>{}</code></p>\n", text(&page.display().to_string()));
    let frame = match small(&page) {
        Some(html) => format!("<iframe sandbox=\"{SANDBOX}\" title=\"{title}\" srcdoc=\"{}\"></iframe>\n", text(&html)),
        None if page.exists() => "<p>It is too large to be shown here.</p>\n".into(),
        None => "<p>There is no <code>report.html</code> in it.</p>\n".into(),
    };
    format!("<h3><code>{title}</code></h3>\n{frame}{paper}{place}")
}

fn small(page: &Path) -> Option<String> {
    let length = fs::metadata(page).ok()?.len();
    (length <= LARGEST).then(|| fs::read(page).ok()).flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
