//! TOML text as a tree in which every key and value knows where it was written.
//!
//! The file's shape never leaves this crate: the rest of the program sees a checked [`crate::Pipeline`].

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeString, DeTable, DeValue};

use crate::diagnostic::{Origin, Report};
use crate::pieces;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub origin: Origin,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Scalar(Scalar),
    Array(Vec<Node>),
    Table(Table),
    /// Wrong, and already reported: whoever meets it stays silent.
    Broken,
}

/// A third of the size of a [`Value`], which could be a map.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Text(String),
    Number(Number),
    Flag(bool),
}

/// Entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// Name to place among the entries, for tables with more than [`SMALL`]: the stages of a large pipeline, and all
    /// that a program wrote.
    index: Option<Arc<HashMap<String, usize>>>,
}

/// Up to so many entries names are looked for one by one.
const SMALL: usize = 16;

/// For what is not in the file.
pub(crate) static EMPTY: Table = Table { entries: Vec::new(), index: None };

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    /// Where the name was written.
    pub origin: Origin,
    pub node: Node,
}

impl Node {
    pub fn text(origin: Origin, text: impl Into<String>) -> Node {
        Node { origin, data: Data::Scalar(Scalar::Text(text.into())) }
    }

    pub fn table(origin: Origin, table: Table) -> Node {
        Node { origin, data: Data::Table(table) }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn as_table(&self) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Whether something in it was already reported.
    pub fn broken(&self) -> bool {
        match &self.data {
            Data::Broken => true,
            Data::Scalar(_) => false,
            Data::Array(items) => items.iter().any(Node::broken),
            Data::Table(table) => table.iter().any(|entry| entry.node.broken()),
        }
    }

    /// The value without its places.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(scalar) => scalar.to_value(),
            Data::Array(items) => items.iter().map(Node::to_value).collect(),
            Data::Table(table) => Value::Object(table.to_map()),
            Data::Broken => Value::Null,
        }
    }

    /// The same value, said to be written elsewhere.
    pub fn moved(mut self, origin: &Origin) -> Node {
        self.origin = origin.clone();
        match &mut self.data {
            Data::Array(items) => items.iter_mut().for_each(|item| *item = item.clone().moved(origin)),
            Data::Table(table) => table.entries.iter_mut().for_each(|entry| {
                entry.origin = origin.clone();
                entry.node = entry.node.clone().moved(origin);
            }),
            Data::Scalar(_) | Data::Broken => {}
        }
        self
    }

    /// Every text in it.
    pub fn for_each_text(&self, visit: &mut dyn FnMut(&str)) {
        match &self.data {
            Data::Scalar(Scalar::Text(text)) => visit(text),
            Data::Array(items) => items.iter().for_each(|item| item.for_each_text(visit)),
            Data::Table(table) => table.iter().for_each(|entry| entry.node.for_each_text(visit)),
            Data::Scalar(_) | Data::Broken => {}
        }
    }

    /// What it is, for messages: `a string`, `a table`.
    pub fn type_name(&self) -> &'static str {
        match &self.data {
            Data::Scalar(Scalar::Text(_)) => "a string",
            Data::Scalar(Scalar::Flag(_)) => "a boolean",
            Data::Scalar(Scalar::Number(_)) => "a number",
            Data::Array(_) => "an array",
            Data::Table(_) => "a table",
            Data::Broken => "unreadable",
        }
    }
}

impl Scalar {
    pub fn to_value(&self) -> Value {
        match self {
            Scalar::Text(text) => Value::String(text.clone()),
            Scalar::Number(number) => Value::Number(number.clone()),
            Scalar::Flag(flag) => Value::Bool(*flag),
        }
    }
}

impl Table {
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Names and values; the values can be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.entries.iter_mut().map(|entry| (entry.name.as_str(), &mut entry.node))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.position(name).map(|at| &self.entries[at])
    }

    fn position(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.entries.iter().position(|entry| entry.name == name),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|entry| &entry.node)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.position(name).map(|at| &mut self.entries[at].node)
    }

    /// The table under `name`, if there is one and it is a table.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.get(name).and_then(Node::as_table)
    }

    pub fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        match self.get_mut(name).map(|node| &mut node.data) {
            Some(Data::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// Replaces the entry of the same name where it stands, or adds it at the end.
    pub fn insert(&mut self, entry: Entry) {
        match self.position(&entry.name) {
            Some(at) => self.entries[at] = entry,
            None => self.add(entry),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(self.position(name)?);
        self.reindex();
        Some(entry)
    }

    /// Adds an entry whose name is new.
    fn add(&mut self, entry: Entry) {
        match &mut self.index {
            Some(index) => drop(Arc::make_mut(index).insert(entry.name.clone(), self.entries.len())),
            None if self.entries.len() == SMALL => {
                self.entries.push(entry);
                return self.reindex();
            }
            None => {}
        }
        self.entries.push(entry);
    }

    /// Adds the entries of another piece of the file: within a table of both, else at the end.
    fn join(&mut self, piece: Table) {
        for entry in piece.entries {
            match (self.get_mut(&entry.name).map(|node| &mut node.data), entry.node.data) {
                (Some(Data::Table(table)), Data::Table(more)) => table.join(more),
                (_, data) => self.insert(Entry { node: Node { data, ..entry.node }, ..entry }),
            }
        }
    }

    fn reindex(&mut self) {
        let numbered = || self.names().enumerate().map(|(at, name)| (name.to_string(), at));
        self.index = (self.len() > SMALL).then(|| Arc::new(numbered().collect()));
    }

    pub fn to_map(&self) -> serde_json::Map<String, Value> {
        self.iter().map(|entry| (entry.name.clone(), entry.node.to_value())).collect()
    }
}

impl IntoIterator for Table {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl FromIterator<Entry> for Table {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Table {
        let mut table = Table { entries: entries.into_iter().collect(), index: None };
        // Most tables are small and stay, and a vector has room for four at least.
        table.entries.shrink_to_fit();
        table.reindex();
        table
    }
}

/// Parses a file; `None` when it is not TOML or too long. Every mistake is in the report.
///
/// After names that are defined twice reading goes on, with all that was said under either.
pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Table> {
    if text.len() > Origin::FURTHEST {
        report.error(&Origin::Nowhere, "this file is longer than 4 GiB");
        return None;
    }
    if let Some(table) = parse_pieces(text, pieces::LENGTH, report) {
        return Some(table);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let origin = error.span().map_or(Origin::Nowhere, Origin::file);
        report.error(&origin, syntax_message(text, error));
    }
    errors.iter().all(is_duplicate).then(|| read_table(table.into_inner(), &Origin::file, report))
}

/// Parses a long file in pieces; `None` where that is not the same.
fn parse_pieces(text: &str, length: usize, report: &mut Report) -> Option<Table> {
    let mut whole = Table::default();
    let mut found = Report::default();
    for piece in pieces::pieces(text, length).filter(|pieces| pieces.len() > 1)? {
        let locate = |span: Range<usize>| Origin::file(piece.start + span.start..piece.start + span.end);
        let table = DeTable::parse(&text[piece.clone()]).ok()?;
        whole.join(read_table(table.into_inner(), &locate, &mut found));
    }
    report.append(found);
    Some(whole)
}

/// Parses one TOML value that came from an argument; `None` when it is not TOML.
pub(crate) fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut report = Report::default();
    let node = read_spanned(value, &|_| origin.clone(), &mut report);
    (!node.broken()).then_some(node)
}

fn syntax_message(text: &str, error: &toml::de::Error) -> String {
    if !is_duplicate(error) {
        return format!("this is not TOML: {}", error.message());
    }
    let name = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    format!("`{name}` is defined twice")
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message() == "duplicate key"
}

type Locate<'a> = &'a dyn Fn(Range<usize>) -> Origin;

fn read(value: DeValue, span: Range<usize>, locate: Locate, report: &mut Report) -> Node {
    let origin = locate(span);
    let data = match value {
        DeValue::String(text) => Data::Scalar(Scalar::Text(text.into_owned())),
        DeValue::Boolean(flag) => Data::Scalar(Scalar::Flag(flag)),
        DeValue::Datetime(time) => Data::Scalar(Scalar::Text(time.to_string())),
        DeValue::Integer(integer) => number(read_integer(&integer), "does not fit 64 bits", &origin, report),
        DeValue::Float(float) => number(read_float(&float), "is not a finite number", &origin, report),
        DeValue::Array(items) => {
            let mut nodes = Vec::with_capacity(items.len());
            nodes.extend(items.into_iter().map(|item| read_spanned(item, locate, report)));
            Data::Array(nodes)
        }
        DeValue::Table(table) => Data::Table(read_table(table, locate, report)),
    };
    Node { origin, data }
}

fn read_spanned(value: Spanned<DeValue>, locate: Locate, report: &mut Report) -> Node {
    let span = value.span();
    read(value.into_inner(), span, locate, report)
}

fn read_table(table: DeTable, locate: Locate, report: &mut Report) -> Table {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let read_entry = |(name, value): (Spanned<DeString>, Spanned<DeValue>)| Entry {
        origin: locate(name.span()),
        name: name.into_inner().into_owned(),
        node: read_spanned(value, locate, report),
    };
    entries.into_iter().map(read_entry).collect()
}

fn number(number: Option<Number>, otherwise: &str, origin: &Origin, report: &mut Report) -> Data {
    match number {
        Some(number) => Data::Scalar(Scalar::Number(number)),
        None => {
            report.error(origin, format!("this {otherwise}"));
            Data::Broken
        }
    }
}

fn read_integer(integer: &DeInteger) -> Option<Number> {
    let signed = i64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from);
    signed.or_else(|_| u64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from)).ok()
}

fn read_float(float: &DeFloat) -> Option<Number> {
    Number::from_f64(float.as_str().parse().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: &str = r#"
[pipeline]
name = "long"
[stages.a] # first
kind = "source"
params.path = "x"
[stages.a.needs]
cpus = 2
[stages.b]
kind = "exec"
params = { command = ["sh", """
[not.a-header
"""], huge = nan }
[profiles.p.stages.a]
seed = 1
[params]
x = { y = 1 }
"#;

    #[test]
    fn pieces_are_the_same_tree_and_the_same_mistakes() {
        let (mut in_pieces, mut at_once) = (Report::default(), Report::default());
        let long = LONG.replace("[not.a-header", "not a header");
        let table = parse_pieces(&long, 1, &mut in_pieces).unwrap();
        assert_eq!(format!("{table:?}"), format!("{:?}", parse(&long, &mut at_once).unwrap()));
        assert_eq!((in_pieces.len(), in_pieces.finish()), (1, at_once.finish()));
    }

    #[test]
    fn a_cut_within_a_text_is_noticed() {
        for line in ["[not.a-header", "[not.a-header]"] {
            let long = LONG.replace("[not.a-header", line);
            assert!(parse_pieces(&long, 1, &mut Report::default()).is_none(), "{line}");
            assert!(parse(&long, &mut Report::default()).is_some());
        }
    }

    #[test]
    fn names_are_found_in_large_tables_too() {
        let entry = |at: usize| Entry {
            name: format!("n{at}"),
            origin: Origin::Nowhere,
            node: Node::text(Origin::Nowhere, at.to_string()),
        };
        let mut table = Table::default();
        (0..SMALL * 3).for_each(|at| table.insert(entry(at)));
        table.insert(Entry { node: Node::text(Origin::Nowhere, "7"), ..entry(20) });
        assert_eq!(table.remove("n0").unwrap().name, "n0");
        assert_eq!(table.get("n0").map(Node::to_value), None);
        assert_eq!(table.get("n20").map(Node::to_value), Some("7".into()));
        assert_eq!(table.get("n47").map(Node::to_value), Some("47".into()));
        assert_eq!(table.names().last(), Some("n47"));
    }
}
