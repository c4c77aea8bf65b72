//! A stage's parameters against its kind: every unknown, missing and wrong one, each at its place.
//!
//! The kind reads its parameters with serde, which stops at the first mistake. So where it cannot read the whole
//! table each parameter is tried alone; once all can be read, the kind judges their ranges.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gazal_stage_api::{Declared, DynKind, Problem};
use serde_json::{Map, Value, json};

use crate::diagnostic::{Origin, Report};
use crate::raw::{Data, Entry, Table};
use crate::suggest::{did_you_mean, one_of};

pub(crate) struct Params {
    /// By canonical name, with places; without those that the kind does not know.
    pub table: Table,
    /// The same without places.
    pub map: Map<String, Value>,
    /// Whether the kind can read them.
    pub readable: bool,
}

/// A checker for each kind that was asked for: a pipeline has many stages of few kinds.
#[derive(Default)]
pub(crate) struct Checkers(RefCell<HashMap<&'static str, Rc<Checker>>>);

impl Checkers {
    pub fn of(&self, kind: &'static dyn DynKind) -> Rc<Checker> {
        self.0.borrow_mut().entry(kind.name()).or_insert_with(|| Rc::new(Checker::new(kind))).clone()
    }
}

/// A kind and the schema of its parameters.
pub(crate) struct Checker {
    pub kind: &'static dyn DynKind,
    schema: Value,
}

impl Checker {
    fn new(kind: &'static dyn DynKind) -> Checker {
        Checker { kind, schema: kind.schema() }
    }

    /// Checks the parameters of a stage with these inputs; `origin` is where to report what is missing.
    pub fn check(&self, written: Table, inputs: &[&str], origin: &Origin, report: &mut Report) -> Params {
        let table = self.keep_known(written, report);
        let map = table.to_map();
        let readable = !table.iter().any(|entry| entry.node.broken()) && self.problem(&map).is_none();
        if readable {
            self.kind.check(&map, inputs).iter().for_each(|problem| place(problem, &table, origin, report));
        } else {
            self.report_unreadable(&table, origin, report);
        }
        Params { table, map, readable }
    }

    /// `table` as the kind can read it: wrong parameters left out, required ones made up.
    pub fn mended(&self, table: &Table) -> Map<String, Value> {
        let fine = table.iter().filter(|entry| !entry.node.broken() && self.alone(entry).is_none());
        let mut map: Map<String, Value> = fine.map(|entry| (entry.name.clone(), entry.node.to_value())).collect();
        for name in self.required() {
            let any = [json!(1), json!("x"), json!(true), json!([]), json!({}), json!(["x"]), self.first_choice(name)];
            let fits = |value: &Value| {
                let problem = self.problem(&one(name, value));
                problem.is_none_or(|problem| steps(&problem.field).next() != Some(name))
            };
            if !map.contains_key(name)
                && let Some(value) = any.into_iter().find(fits)
            {
                map.insert(name.into(), value);
            }
        }
        map
    }

    /// The parameters that the kind knows, by canonical name; the others are reported.
    fn keep_known(&self, written: Table, report: &mut Report) -> Table {
        if written.names().all(|name| self.names().any(|known| known == name)) {
            return written;
        }
        let mut known = Table::default();
        for entry in written.iter() {
            let Some(name) = self.canonical_name(entry) else {
                let help = one_of(&entry.name, "its parameters are", self.names());
                let message = format!("the kind `{}` has no parameter `{}`", self.kind.name(), entry.name);
                report.error(&entry.origin, message).help(help);
                continue;
            };
            if name != entry.name && written.entry(&name).is_some() {
                report
                    .error(&entry.origin, format!("`{}` is another name of `{name}`, which is given too", entry.name));
                continue;
            }
            known.insert(Entry { name, ..entry.clone() });
        }
        known
    }

    /// The name under which the kind knows a parameter. Schemas do not know about aliases, so serde is asked.
    fn canonical_name(&self, entry: &Entry) -> Option<String> {
        if self.names().any(|name| name == entry.name) {
            return Some(entry.name.clone());
        }
        let says = |problem: Option<Problem>, what: String| problem.is_some_and(|one| one.message.starts_with(&what));
        if says(self.problem(&one(&entry.name, &Value::Null)), format!("unknown field `{}`", entry.name)) {
            return None;
        }
        let value = entry.node.to_value();
        let is_alias_of = |name: &&str| {
            let mut both = one(name, &value);
            both.insert(entry.name.clone(), value.clone());
            says(self.problem(&both), format!("duplicate field `{name}`"))
        };
        Some(self.names().find(is_alias_of).unwrap_or(&entry.name).to_string())
    }

    fn report_unreadable(&self, table: &Table, origin: &Origin, report: &mut Report) {
        let before = report.len();
        for name in self.required().filter(|name| table.get(name).is_none()) {
            let doc = self.schema.pointer(&format!("/properties/{name}/description")).and_then(Value::as_str);
            let message = format!("the kind `{}` needs the parameter `{name}`", self.kind.name());
            report.error(origin, message).help(doc.map(str::to_string));
        }
        for problem in table.iter().filter_map(|entry| self.alone(entry)) {
            place(&problem, table, origin, report);
        }
        let broken = table.iter().any(|entry| entry.node.broken());
        if let Some(problem) = self.problem(&table.to_map()).filter(|_| !broken && report.len() == before) {
            place(&problem, table, origin, report);
        }
    }

    /// What is wrong with one parameter, whatever the others are.
    fn alone(&self, entry: &Entry) -> Option<Problem> {
        if entry.node.broken() {
            return None;
        }
        let problem = self.problem(&one(&entry.name, &entry.node.to_value()));
        problem.filter(|problem| steps(&problem.field).next() == Some(&entry.name))
    }

    /// Why the kind cannot read a table.
    ///
    /// `inputs` fails only there; `check` would also judge the values of a table that is not whole.
    fn problem(&self, map: &Map<String, Value>) -> Option<Problem> {
        self.kind.inputs(map, &Declared::default()).err()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(|all| all.keys().map(String::as_str))
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.schema.get("required").and_then(Value::as_array);
        required.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The first value that serde itself offers for a parameter: a variant of its enumeration.
    fn first_choice(&self, name: &str) -> Value {
        let offer = self
            .problem(&one(name, &json!("")))
            .and_then(|problem| problem.message.split("expected").nth(1)?.split('`').nth(1).map(str::to_string));
        offer.map_or(Value::Null, Value::String)
    }
}

fn one(name: &str, value: &Value) -> Map<String, Value> {
    Map::from_iter([(name.to_string(), value.clone())])
}

/// Reports a problem at the innermost place that its field leads to.
fn place(problem: &Problem, table: &Table, otherwise: &Origin, report: &mut Report) {
    let field = problem.field.trim_matches('.');
    let message = match field {
        "" => problem.message.clone(),
        _ => format!("parameter `{field}`: {}", problem.message),
    };
    let (name, value) = locate(table, field).unwrap_or((otherwise, otherwise));
    let place = if problem.message.starts_with("unknown field") { name } else { value };
    report.error(place, message).help(problem.help.clone().or_else(|| meant(&problem.message)));
}

/// The nearest of the names in serde's "unknown field `x`, expected one of `a`, `b`".
fn meant(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut names = rest.split('`').skip(1).step_by(2);
    did_you_mean(names.next()?, names)
}

/// Where the name and the value of a field were written, or those of what it should be in.
fn locate<'a>(table: &'a Table, field: &str) -> Option<(&'a Origin, &'a Origin)> {
    let mut steps = steps(field);
    let first = table.entry(steps.next()?)?;
    let (mut name, mut node) = (&first.origin, &first.node);
    for step in steps {
        (name, node) = match &node.data {
            Data::Table(table) => match table.entry(step) {
                Some(entry) => (&entry.origin, &entry.node),
                None => break,
            },
            Data::Array(items) => match step.parse().ok().and_then(|at: usize| items.get(at)) {
                Some(item) => (&item.origin, item),
                None => break,
            },
            Data::Scalar(_) | Data::Broken => break,
        };
    }
    Some((name, &node.origin))
}

/// `a.b[1].c` as `a`, `b`, `1`, `c`.
fn steps(field: &str) -> impl Iterator<Item = &str> {
    field.split(['.', '[', ']']).filter(|step| !step.is_empty())
}
