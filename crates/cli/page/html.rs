//! Pieces of HTML. All that comes from users goes through [`text`]; markup is written so that an XML parser reads it.

use gazal_stages::page::escape;

use super::facts::Standing;

/// Something of a user's as text: what would steer a terminal is left out, other control characters are shown as
/// unknown, since no page may hold them.
pub(crate) fn text(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut letters = raw.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => {
                letters.next();
                let _ = letters.by_ref().find(|letter| ('@'..='~').contains(letter));
            }
            '\n' | '\t' => plain.push(letter),
            '\r' => {}
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => plain.push('\u{fffd}'),
            letter => plain.push(letter),
        }
    }
    escape(&plain)
}

/// Text cut to so many columns; letters of wide scripts take two.
pub(crate) fn short(raw: &str, columns: usize) -> String {
    let width = |letter: char| if letter >= '\u{1100}' { 2 } else { 1 };
    if raw.chars().map(width).sum::<usize>() <= columns {
        return text(raw);
    }
    let mut room = columns.saturating_sub(1);
    let fits = |letter: &char| {
        let fits = width(*letter) <= room;
        room = room.saturating_sub(width(*letter));
        fits
    };
    text(&raw.chars().take_while(fits).collect::<String>()) + "…"
}

/// A section with a heading that can be linked to.
pub(crate) fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n")
}

/// A table of rows that are HTML already.
pub(crate) fn table(class: &str, head: &[&str], rows: &[String]) -> String {
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let rows = rows.join("\n");
    format!(
        "<div class=\"scroll\"><table class=\"{class}\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n"
    )
}

/// Names and what they are, of which the second is HTML already.
pub(crate) fn list(rows: &[(String, String)]) -> String {
    let rows: String = rows.iter().map(|(name, what)| format!("<dt>{}</dt><dd>{what}</dd>\n", text(name))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// Something that is open when it is asked for.
pub(crate) fn folded(summary: &str, body: &str, is_open: bool) -> String {
    let open = if is_open { " open=\"open\"" } else { "" };
    format!("<details{open}><summary>{summary}</summary>\n{body}</details>\n")
}

/// A state as its mark and its word.
pub(crate) fn state(standing: Standing) -> String {
    let class = standing.class();
    format!(
        "<span class=\"state {class}\"><svg class=\"mark\" viewBox=\"0 0 16 16\" width=\"14\" height=\"14\" aria-hidden=\"true\">\
         <use href=\"#mark-{class}\"/></svg> {}</span>",
        standing.word()
    )
}

/// Some items and how many there are beyond `most`.
pub(crate) fn some<T>(items: &[T], most: usize) -> (&[T], usize) {
    let shown = items.len().min(most);
    (&items[..shown], items.len() - shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_users_write_is_markup() {
        assert_eq!(text("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
        assert_eq!(text("\u{1b}[1;31mred\u{1b}[0m\r\n\u{0}\u{7}"), "red\n\u{fffd}\u{fffd}");
        assert_eq!(text("\u{1b}[31"), "");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(short("twelve", 6), "twelve");
        assert_eq!(short("thirteen", 6), "thirt…");
        assert_eq!(short("日本語の名前", 6), "日本…");
        assert_eq!(short("<<<<<<<", 3), "&lt;&lt;…");
    }
}
