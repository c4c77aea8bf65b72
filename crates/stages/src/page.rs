//! What every page of the program shares: escaping and the style sheets. A page carries its style, asks for no file
//! beside it, needs no script, and is light or dark as its reader's system is.

/// Of pages.
pub const STYLE: &str = include_str!("page/page.css");

/// Of pictures: colours are variables here, which a page includes once and a file of its own carries.
pub const PICTURE_STYLE: &str = include_str!("page/svg.css");

/// Text that stands for itself in HTML and in attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
