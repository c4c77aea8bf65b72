//! A long file in pieces that can be parsed one by one.
//!
//! The parser needs many times the memory of the text that it has before it, so a pipeline of 100,000 stages is given
//! to it in pieces. A cut is made before a header such as `[stages.sft]`, and only in files for which it changes
//! nothing: every header is plain, no two pieces say something about the same table, and the pieces are TOML each by
//! itself (a cut within a text or an array leaves a piece that is none). For every other file there is one piece, so
//! that the parser alone says what is right, and what is wrong with it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// No piece is shorter, but for the last.
pub(crate) const LENGTH: usize = 1 << 16;

/// The pieces of a text; `None` where it must be parsed as a whole.
pub(crate) fn pieces(text: &str, length: usize) -> Option<Vec<Range<usize>>> {
    let mut starts = vec![0];
    // What was said something about: `pipeline`, or `stages` and `sft`; and in which piece.
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    let (mut whole, mut divided) = (BTreeSet::new(), BTreeSet::new());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim();
        if !line.starts_with('[') {
            if seen.is_empty() && !line.is_empty() && !line.starts_with('#') {
                return None;
            }
            continue;
        }
        let (first, second) = header(line)?;
        if second.is_empty() {
            whole.insert(first)
        } else {
            divided.insert(first)
        };
        let known = seen.get(&(first, second)).copied();
        if start - starts[starts.len() - 1] >= length && known.is_none() {
            starts.push(start);
        }
        if seen.insert((first, second), starts.len()).is_some_and(|piece| piece != starts.len()) {
            return None;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    whole.is_disjoint(&divided).then(|| starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect())
}

/// The first two names of a header of bare names: `stages` and `sft` of `[stages.sft.params]`.
fn header(line: &str) -> Option<(&str, &str)> {
    let (names, rest) = line.strip_prefix('[')?.split_once(']')?;
    let bare =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let rest = rest.trim_start();
    if !names.split('.').all(bare) || !(rest.is_empty() || rest.starts_with('#')) {
        return None;
    }
    let mut names = names.split('.');
    Some((names.next()?, names.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<Vec<&str>> {
        pieces(text, 1).map(|pieces| pieces.into_iter().map(|piece| &text[piece]).collect())
    }

    #[test]
    fn cuts_are_before_tables_that_are_new() {
        let text = "# head\n[pipeline]\na = 1\n[stages.a]\n[stages.a.params]\nb = [1,\n 2]\n  [stages.b] # c\n";
        let expected =
            ["# head\n", "[pipeline]\na = 1\n", "[stages.a]\n[stages.a.params]\nb = [1,\n 2]\n", "  [stages.b] # c\n"];
        assert_eq!(cut(text), Some(expected.to_vec()));
        assert_eq!(cut(""), Some(vec![""]));
    }

    #[test]
    fn what_depends_on_another_piece_stays_whole() {
        for text in [
            "[stages.a]\n[stages.b]\n[stages.a.params]\n",
            "[stages.a]\n[stages.b]\n[stages.a]\n",
            "[stages]\n[stages.a]\n",
            "stages.a.kind = \"x\"\n[stages.b]\n",
            "[stages.a]\n[[stages.b]]\n",
            "[stages.a]\n[\"stages\".b]\n",
            "[stages.a]\nx = [\n[1],\n[2]]\n",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }
}
