//! `{% generation %}` … `{% endgeneration %}`: which part of the text the assistant says.
//!
//! The tag is transformers' own. It is written anew as a filter block with a scope of its own, which keeps Jinja's
//! whitespace rules, and the filter surrounds what the block renders with two markers. The text without the markers is
//! compared with the text of a run without any, so that a template that does more with the block than write it out is
//! found out.

use std::ops::Range;

use minijinja::State;
use minijinja::value::Value as Jinja;

/// The filter that the tag becomes, and the variable that holds the markers.
pub const NAME: &str = "__generation";

/// Replaces the tags; strings, comments and raw blocks stay as they are.
pub fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 64);
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (text, tag) = rest.split_at(start);
        out.push_str(text);
        let length = tag_length(tag);
        let (tag, after) = tag.split_at(length);
        match replacement(tag) {
            Some(call) => out.push_str(&call),
            None => out.push_str(tag),
        }
        rest = after;
        if word(tag) == Some("raw") {
            let end = end_of_raw(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out + rest
}

/// Bytes of the tag, comment or expression that `text` begins with; 1 for a mere brace.
fn tag_length(text: &str) -> usize {
    match text.as_bytes() {
        [b'{', b'#', ..] => text.find("#}").map_or(text.len(), |end| end + 2),
        [b'{', b'%', ..] => code_length(text, "%}"),
        [b'{', b'{', ..] => code_length(text, "}}"),
        _ => 1,
    }
}

/// Bytes up to and with `close`, which may also stand in a string.
fn code_length(text: &str, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if text[at..].starts_with(close) => return at + close.len(),
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None => {}
        }
    }
    text.len()
}

/// The only word of a block tag.
fn word(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
}

fn replacement(tag: &str) -> Option<String> {
    match word(tag)? {
        "generation" => Some(two_tags(tag, "generation", [&format!("filter {NAME}"), "with"])),
        "endgeneration" => Some(two_tags(tag, "endgeneration", ["endwith", "endfilter"])),
        _ => None,
    }
}

/// Two tags for one: what the one does with the whitespace before and behind it, they do.
fn two_tags(tag: &str, name: &str, [first, second]: [&str; 2]) -> String {
    let (before, behind) = tag.split_once(name).unwrap_or_default();
    format!("{before}{first} %}}{{% {second}{behind}")
}

/// Where the tag that ends a raw block begins.
fn end_of_raw(text: &str) -> usize {
    let starts = text.match_indices("{%").map(|(start, _)| start);
    let ends = |start: &usize| {
        let tag = &text[*start..];
        word(&tag[..tag.find("%}").map_or(tag.len(), |end| end + 2)]) == Some("endraw")
    };
    starts.into_iter().find(ends).unwrap_or(text.len())
}

/// The two strings around what the assistant says.
#[derive(Clone, Debug)]
pub struct Markers {
    open: String,
    close: String,
}

impl Markers {
    /// Markers that do not occur in `text`.
    pub fn absent_from(text: &str) -> Markers {
        let mut number = 0_u64;
        while text.contains(&format!("\u{E000}{number}\u{E001}")) {
            number += 1;
        }
        Markers { open: format!("\u{E000}{number}\u{E001}<"), close: format!("\u{E000}{number}\u{E001}>") }
    }

    /// The markers as the filter reads them.
    pub fn value(&self) -> Jinja {
        Jinja::from(vec![self.open.clone(), self.close.clone()])
    }

    /// The text without markers, and the bytes that were between them.
    pub fn take_out(&self, marked: &str) -> (String, Vec<Range<usize>>) {
        let (mut text, mut spans) = (String::with_capacity(marked.len()), Vec::new());
        for (index, piece) in marked.split(&self.open).enumerate() {
            let start = text.len();
            match piece.split_once(&self.close) {
                Some((inside, after)) if index > 0 => {
                    text.push_str(inside);
                    if !inside.is_empty() {
                        spans.push(start..text.len());
                    }
                    text.push_str(after);
                }
                _ => text.push_str(piece),
            }
        }
        (text, spans)
    }
}

/// The filter: its block, between markers if there are any.
pub fn filter(state: &State, block: &str) -> String {
    let marker = |index| state.lookup(NAME)?.get_item_by_index(index).ok()?.as_str().map(str::to_string);
    match marker(0).zip(marker(1)) {
        Some((open, close)) => open + block + &close,
        None => block.into(),
    }
}
