//! `${params.x}` and `${matrix.x}` in texts.
//!
//! A text that is exactly one reference takes the type of the value, anything else stays text. `$${` is a
//! literal `${`, and a `${` of any other kind is left alone: it belongs to somebody's shell script.

use crate::diagnostic::{Origin, Report};
use crate::raw::{Data, Node, Scalar, Table};
use crate::suggest::one_of;

/// What references can see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub params: &'a Table,
    pub matrix: Axes<'a>,
}

/// What `matrix.` means at a place.
#[derive(Clone, Copy)]
pub(crate) enum Axes<'a> {
    /// Nothing: there is no matrix, or it comes later.
    Absent,
    /// There is a matrix with a mistake in it, which is reported.
    Broken,
    /// Axis to value.
    Point(&'a Table),
}

/// A stretch of a text.
#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    /// `params.x` or `matrix.x`, without its braces.
    Reference(&'t str),
}

/// The references in a text.
pub(crate) fn references(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Reference(path) => Some(path),
        Piece::Text(_) => None,
    })
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(1);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Text("${")]);
            rest = after;
        } else if let Some(path) = reference(after) {
            pieces.extend([Piece::Text(before), Piece::Reference(path)]);
            rest = &after[path.len() + 1..];
        } else {
            pieces.push(Piece::Text(&rest[..at + 2]));
            rest = after;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

fn reference(after: &str) -> Option<&str> {
    let path = &after[..after.find('}')?];
    (path.starts_with("params.") || path.starts_with("matrix.")).then_some(path)
}

impl Scope<'_> {
    /// `node` with its references replaced; what cannot be replaced is reported and broken.
    pub fn apply(&self, node: &Node, report: &mut Report) -> Node {
        self.filled(node, &mut Vec::new(), report)
    }

    /// All entries of a table, replaced.
    pub fn apply_table(&self, table: &Table, report: &mut Report) -> Table {
        let mut filled = table.clone();
        self.fill_table(&mut filled, &|_| true, report);
        filled
    }

    /// Replaces the references in those entries of a table that are `wanted` by name.
    pub fn fill_table(&self, table: &mut Table, wanted: &dyn Fn(&str) -> bool, report: &mut Report) {
        let wanted = table.iter_mut().filter(|(name, _)| wanted(name));
        wanted.for_each(|(_, node)| self.fill(node, &mut Vec::new(), report));
    }

    fn filled(&self, node: &Node, open: &mut Vec<String>, report: &mut Report) -> Node {
        let mut filled = node.clone();
        self.fill(&mut filled, open, report);
        filled
    }

    /// `open` holds the references that are being replaced, to notice parameters that refer to each other.
    fn fill(&self, node: &mut Node, open: &mut Vec<String>, report: &mut Report) {
        match &mut node.data {
            Data::Scalar(Scalar::Text(text)) if text.contains("${") => {
                *node = self.text(text, &node.origin, open, report);
            }
            Data::Array(items) => items.iter_mut().for_each(|item| self.fill(item, open, report)),
            Data::Table(table) => table.iter_mut().for_each(|(_, node)| self.fill(node, open, report)),
            Data::Scalar(_) | Data::Broken => {}
        }
    }

    fn text(&self, text: &str, origin: &Origin, open: &mut Vec<String>, report: &mut Report) -> Node {
        let pieces = pieces(text);
        if let [Piece::Reference(path)] = pieces[..] {
            return self.value(path, origin, open, report).moved(origin);
        }
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Reference(path) => match self.value(path, origin, open, report).data {
                    Data::Scalar(Scalar::Text(text)) => filled.push_str(&text),
                    Data::Scalar(scalar) => filled.push_str(&scalar.to_value().to_string()),
                    Data::Broken => return Node { origin: origin.clone(), data: Data::Broken },
                    Data::Array(_) | Data::Table(_) => return not_text(path, origin, report),
                },
            }
        }
        Node::text(origin.clone(), filled)
    }

    fn value(&self, path: &str, origin: &Origin, open: &mut Vec<String>, report: &mut Report) -> Node {
        if open.iter().any(|other| other == path) {
            let ring: Vec<&str> = open.iter().map(String::as_str).chain([path]).collect();
            report.error(origin, format!("parameters refer to each other: {}", ring.join(" → ")));
            return Node { origin: origin.clone(), data: Data::Broken };
        }
        match self.find(path, origin, report) {
            Some(found) => {
                open.push(path.to_string());
                let value = self.filled(found, open, report);
                open.pop();
                value
            }
            None => Node { origin: origin.clone(), data: Data::Broken },
        }
    }

    fn find(&self, path: &str, origin: &Origin, report: &mut Report) -> Option<&Node> {
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut table = match (root, self.matrix) {
            ("params", _) => self.params,
            (_, Axes::Point(point)) => point,
            (_, Axes::Broken) => return None,
            (_, Axes::Absent) => {
                let help = "`matrix.` is for stages with a `matrix`, and not for `kind`, `enabled` and `matrix` there";
                report.error(origin, format!("there is no matrix here for `${{{path}}}`")).help(help.to_string());
                return None;
            }
        };
        let steps: Vec<&str> = rest.split('.').collect();
        for (depth, step) in steps.iter().enumerate() {
            let node = table.get(step);
            let inner = node.and_then(Node::as_table);
            match (node, inner) {
                (Some(node), _) if depth + 1 == steps.len() => return Some(node),
                (Some(_), Some(inner)) => table = inner,
                _ => {
                    let within = [&[root], &steps[..depth]].concat().join(".");
                    let names = if node.is_none() { table.names().collect() } else { Vec::new() };
                    let help = one_of(step, &format!("`{within}` has"), names);
                    report.error(origin, format!("there is no `{path}`")).help(help);
                    return None;
                }
            }
        }
        None
    }
}

fn not_text(path: &str, origin: &Origin, report: &mut Report) -> Node {
    let help = format!("only a text that is exactly `${{{path}}}` takes a whole array or table");
    report.error(origin, format!("`{path}` is no text that could be put here")).help(help);
    Node { origin: origin.clone(), data: Data::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_pieces() {
        use Piece::{Reference, Text};
        assert_eq!(pieces("${params.a}"), [Reference("params.a")]);
        assert_eq!(pieces("a/${matrix.b.c}.x"), [Text("a/"), Reference("matrix.b.c"), Text(".x")]);
        assert_eq!(pieces("$${params.a}"), [Text("${"), Text("params.a}")]);
        assert_eq!(pieces("${HOME}/$x"), [Text("${"), Text("HOME}/$x")]);
        assert_eq!(pieces("${params.a"), [Text("${"), Text("params.a")]);
    }
}
