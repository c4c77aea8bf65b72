//! What every page of the program shares: escaping, the style sheets and tables. A page carries its style, asks for no file
//! beside it, needs no script, and is light or dark as its reader's system is.

use std::fmt::Write;

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

/// A page up to its heading.
pub fn opening(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{PICTURE_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )
}

/// What ends it.
pub const CLOSING: &str = "</main>\n</body>\n</html>\n";

/// What stands where there is no number.
pub fn missing() -> String {
    "–".into()
}

/// A word on what a number says: `up`, `down` or `noise`, with the p of its test where there is one.
pub fn tag(class: &str, words: &str, p: Option<f64>) -> String {
    let p = p.map_or_else(String::new, |p| format!(" title=\"p = {p:.3}\""));
    format!("<span class=\"tag {class}\"{p}>{words}</span>")
}

/// A table from cells that are HTML already; `marked` sets the last column off.
pub struct Grid {
    pub head: Vec<String>,
    /// Class, label and cells.
    pub rows: Vec<(&'static str, String, Vec<String>)>,
    pub marked: bool,
}

impl Grid {
    pub fn render(&self) -> String {
        let class = |index: usize| if self.marked && index + 1 == self.head.len() { " class=\"last\"" } else { "" };
        let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr><th></th>");
        for (index, head) in self.head.iter().enumerate() {
            let _ = write!(out, "<th{} scope=\"col\">{}</th>", class(index), escape(head));
        }
        out += "</tr></thead>\n<tbody>\n";
        for (row, label, cells) in &self.rows {
            let _ = write!(out, "<tr class=\"{row}\"><th scope=\"row\">{}</th>", escape(label));
            for (index, cell) in cells.iter().enumerate() {
                let _ = write!(out, "<td{}>{cell}</td>", class(index));
            }
            out += "</tr>\n";
        }
        out + "</tbody>\n</table></div>\n"
    }
}
