//! One stage table to drafts: one a matrix point, complete but for its connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use gazal_stage_api::{Declared, DynKind, InPort, Kinds, OutPort, PortType};
use serde_json::{Map, Value};

use crate::condition::Written;
use crate::diagnostic::{Origin, Report};
use crate::executor::Choice;
use crate::params::{Checker, Checkers, Params};
use crate::places::Surveyor;
use crate::raw::{self, Data, Entry, Node, Scalar, Table};
use crate::settings::{Needs, Settings, read_needs, scalar};
use crate::shared::Shared;
use crate::substitute::{Axes, Scope};
use crate::suggest::{nearest, one_of};
use crate::wire::items;
use crate::{Executor, Places, Policy, keys, matrix, policy};

/// A stage or matrix point whose inputs are still names.
pub(crate) struct Draft {
    pub name: String,
    pub base: String,
    /// The stage's name in the file.
    pub origin: Origin,
    /// `None` when the kind is unknown, which is reported.
    pub kind: Option<&'static dyn DynKind>,
    pub params: Arc<Map<String, Value>>,
    /// `None` when the kind is unknown or cannot tell.
    pub ports: Option<Ports>,
    /// The table `inputs`.
    pub inputs: Table,
    pub settings: Settings,
    pub needs: Needs,
    pub executor: Arc<Executor>,
    pub policy: Arc<Policy>,
    pub when: Vec<Written>,
    pub gates: Vec<Written>,
    /// The name of the stage that serves it.
    pub service: Option<Written>,
    pub places: Places,
    pub matrix: Arc<Map<String, Value>>,
}

/// Each in a box of its own, which goes when its stage is built: of a large pipeline there is no room for both.
#[allow(clippy::vec_box, reason = "boxes are freed one by one")]
pub(crate) type Drafts = Vec<Box<Draft>>;

pub(crate) struct Ports {
    pub inputs: Vec<InPort>,
    /// `None` when a parameter that may decide them is wrong, which is reported.
    pub outputs: Option<Vec<OutPort>>,
}

/// What all stages of a file are read with.
pub(crate) struct Reader<'a> {
    pub surveyor: &'a Surveyor<'a>,
    pub kinds: &'a Kinds,
    pub checkers: &'a Checkers,
    pub params: &'a Table,
    /// The table `[pipeline]`, for the places of inherited values.
    pub pipeline: &'a Table,
    /// The names of all stages.
    pub names: &'a [String],
    pub defaults: Settings,
    pub executor: Choice,
    pub pools: &'a BTreeMap<String, u32>,
    pub shared: Shared,
}

/// A stage of the file with its kind, before its matrix is expanded.
struct Named<'a> {
    name: &'a str,
    /// Of the name.
    origin: &'a Origin,
    kind: Option<&'a Checker>,
}

/// What became of a stage table.
pub(crate) enum Read {
    Drafts(Drafts),
    Disabled,
    /// Its points could not be found out, and the reason is reported; with what else could be read.
    Opaque(Option<Box<Draft>>),
}

impl Reader<'_> {
    pub fn read(&self, stage: Entry, report: &mut Report) -> Read {
        check_name(&stage, report);
        let Entry { name, origin, node: Node { data: Data::Table(mut table), .. } } = stage else {
            return Read::Opaque(None);
        };
        if !self.enabled(&table, report) {
            return Read::Disabled;
        }
        let kind = self.kind(&name, &origin, &table, report).map(|kind| self.checkers.of(kind));
        let stage = Named { name: &name, origin: &origin, kind: kind.as_deref() };
        let Some(matrix) = table.remove("matrix") else {
            return Read::Drafts(vec![Box::new(self.draft(&stage, table, Axes::Absent, report))]);
        };
        match self.points(matrix, report) {
            None => Read::Opaque(Some(Box::new(self.draft(&stage, table, Axes::Broken, report)))),
            Some(points) => {
                let draft = |point| Box::new(self.draft(&stage, table.clone(), Axes::Point(point), report));
                Read::Drafts(points.iter().map(draft).collect())
            }
        }
    }

    /// What is decided before there are matrix points.
    fn before_points(&self) -> Scope<'_> {
        Scope { params: self.params, matrix: Axes::Absent }
    }

    fn enabled(&self, table: &Table, report: &mut Report) -> bool {
        let Some(node) = table.get("enabled") else { return true };
        let node = self.before_points().apply(node, report);
        if let Data::Scalar(Scalar::Flag(flag)) = node.data {
            return flag;
        }
        if !node.broken() {
            report.error(&node.origin, format!("`enabled` must be true or false, not {}", node.type_name()));
        }
        true
    }

    fn points(&self, matrix: Entry, report: &mut Report) -> Option<Vec<matrix::Point>> {
        let node = self.before_points().apply(&matrix.node, report);
        matrix::expand(&Entry { node, ..matrix }, report)
    }

    /// `table` is the stage's as written; `kind` and `enabled` are read before.
    fn draft(&self, stage: &Named, mut table: Table, axes: Axes, report: &mut Report) -> Draft {
        let scope = Scope { params: self.params, matrix: axes };
        scope.fill_table(&mut table, &|name| !["kind", "enabled"].contains(&name), report);
        let written = keys::take_table(&mut table, "params", report);
        let inputs = keys::take_table(&mut table, "inputs", report);
        let declared = declare(&table, &inputs, report);
        let params = match stage.kind {
            Some(checker) => checker.check(written, &connected(&inputs), stage.origin, report),
            None => Params { map: written.to_map(), table: written, readable: false },
        };
        let kind = stage.kind.map(|checker| checker.kind);
        let ports = stage.kind.and_then(|checker| ask_ports(checker, &params, &declared));
        if let Some(kind) = kind {
            check_outputs(kind, ports.as_ref(), &table, report);
            warn_idle(kind, &table, report);
        }
        let executor = Choice::read(&table, &self.executor, report);
        executor.warn_idle(&table, report);
        let places = self.places(stage, &table, &inputs, &params.table);
        let point = if let Axes::Point(point) = axes { point } else { &raw::EMPTY };
        Draft {
            name: matrix::point_name(stage.name, point),
            base: stage.name.into(),
            origin: stage.origin.clone(),
            kind,
            ports,
            inputs,
            settings: Settings::read(&table, self.defaults, report),
            needs: table.get("needs").map(|node| read_needs(node, report)).unwrap_or_default(),
            policy: self.shared.policy.or(Policy::read(&table, self.pools, report)),
            when: conditions(&table, "when", report),
            gates: conditions(&table, "gate", report),
            service: table.get("service").and_then(|node| read_service(node, report)),
            executor: self.shared.executor.or(executor.into_executor()),
            places,
            params: self.shared.params.or(params.map),
            matrix: self.shared.matrix.or(point.to_map()),
        }
    }

    fn kind(&self, stage: &str, origin: &Origin, table: &Table, report: &mut Report) -> Option<&'static dyn DynKind> {
        let Some(node) = table.get("kind") else {
            let others = self.names.iter().map(String::as_str).filter(|name| *name != stage);
            let meant = nearest(stage, others).map(|name| format!("; or was the stage `{name}` meant?"));
            let help = format!("add `kind = \"…\"`{}", meant.unwrap_or_default());
            report.error(origin, format!("the stage `{stage}` has no `kind`")).help(help);
            return None;
        };
        let node = self.before_points().apply(node, report);
        match node.as_str() {
            Some(_) => keys::check_kind(&node, self.kinds, report),
            None if node.broken() => {}
            None => {
                report.error(&node.origin, format!("`kind` must be a string, not {}", node.type_name()));
            }
        }
        self.kinds.get(node.as_str()?)
    }

    fn places(&self, stage: &Named, table: &Table, inputs: &Table, params: &Table) -> Places {
        let mut places = Vec::new();
        for name in
            ["seed", "backend", "precision", "when", "gate", "service", "retries", "timeout", "pool", "executor"]
        {
            let node = table.get(name).or_else(|| self.pipeline.get(name));
            self.add_place(&mut places, name, node.map(|node| &node.origin));
        }
        self.add_place(&mut places, "", Some(stage.origin));
        self.add_place(&mut places, "kind", table.get("kind").map(|node| &node.origin));
        let tables = [("inputs", Some(inputs)), ("outputs", table.table("outputs")), ("needs", table.table("needs"))];
        for (name, table) in tables {
            for entry in table.into_iter().flat_map(Table::iter) {
                self.add_place(&mut places, &format!("{name}.{}", entry.name), Some(&entry.node.origin));
            }
        }
        for entry in params.iter() {
            self.add_places(&mut places, &format!("params.{}", entry.name), &entry.node);
        }
        self.surveyor.places(places)
    }

    /// The places of a value and of all that is nested in it.
    fn add_places(&self, places: &mut Vec<(String, usize)>, name: &str, node: &Node) {
        self.add_place(places, name, Some(&node.origin));
        for entry in node.as_table().into_iter().flat_map(Table::iter) {
            self.add_places(places, &format!("{name}.{}", entry.name), &entry.node);
        }
    }

    fn add_place(&self, places: &mut Vec<(String, usize)>, name: &str, origin: Option<&Origin>) {
        if let Some(Origin::File { start, .. }) = origin {
            places.push((name.into(), *start as usize));
        }
    }
}

fn check_name(stage: &Entry, report: &mut Report) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = stage.name.starts_with(plain) && stage.name.chars().all(|c| plain(c) || c == '_' || c == '-');
    if !fine {
        let help = "small letters, digits, `_` and `-`; the first a letter or a digit".to_string();
        report.error(&stage.origin, format!("`{}` cannot be the name of a stage", stage.name)).help(help);
    }
}

/// The conditions under `name`, unread.
fn conditions(table: &Table, name: &str, report: &mut Report) -> Vec<Written> {
    let texts = table.get(name).map(|node| policy::texts(node, name, report)).unwrap_or_default();
    texts.into_iter().map(|(node, text)| Written { text: text.to_string(), origin: node.origin.clone() }).collect()
}

fn read_service(node: &Node, report: &mut Report) -> Option<Written> {
    let text =
        scalar(node, "`service` must be the name of a stage", report, |value| value.as_str().map(str::to_string))?;
    Some(Written { text, origin: node.origin.clone() })
}

/// The table under `name`, empty if it is missing or reported.
fn subtable(table: &Table, name: &str, report: &mut Report) -> Table {
    table.entry(name).and_then(|entry| keys::expect_table(entry, report)).cloned().unwrap_or_default()
}

fn declare(table: &Table, inputs: &Table, report: &mut Report) -> Declared {
    let outputs = subtable(table, "outputs", report);
    let typed = outputs.iter().filter_map(|entry| Some((entry.name.clone(), read_type(entry, report)?))).collect();
    Declared { inputs: inputs.names().map(str::to_string).collect(), outputs: typed }
}

/// The inputs that are connected to something, as far as their texts say so.
fn connected(inputs: &Table) -> Vec<&str> {
    let connects = |entry: &&Entry| items(&entry.node).any(|item| item.as_str() != Some(""));
    inputs.iter().filter(connects).map(|entry| entry.name.as_str()).collect()
}

fn read_type(entry: &Entry, report: &mut Report) -> Option<PortType> {
    if entry.node.broken() {
        return None;
    }
    let Some(name) = entry.node.as_str() else {
        let message =
            format!("the type of the output `{}` must be a string, not {}", entry.name, entry.node.type_name());
        report.error(&entry.node.origin, message);
        return None;
    };
    let port = PortType::from_name(name);
    if port.is_none() {
        let help = one_of(name, "the types are", PortType::ALL.map(PortType::name));
        report.error(&entry.node.origin, format!("there is no port type `{name}`")).help(help);
    }
    port
}

/// The ports; where parameters are wrong, the inputs that the kind has with values in their stead.
fn ask_ports(checker: &Checker, params: &Params, declared: &Declared) -> Option<Ports> {
    let kind = checker.kind;
    if params.readable {
        return Some(Ports {
            inputs: kind.inputs(&params.map, declared).ok()?,
            outputs: Some(kind.outputs(&params.map, declared).ok()?),
        });
    }
    Some(Ports { inputs: kind.inputs(&checker.mended(&params.table), declared).ok()?, outputs: None })
}

/// The table `outputs` is for kinds that take their outputs from it.
fn check_outputs(kind: &dyn DynKind, ports: Option<&Ports>, table: &Table, report: &mut Report) {
    let Some(outputs) = ports.and_then(|ports| ports.outputs.as_ref()) else { return };
    for entry in table.table("outputs").into_iter().flat_map(Table::iter) {
        let declared = entry.node.as_str().and_then(PortType::from_name);
        let built = outputs.iter().find(|output| output.name == entry.name);
        match (declared, built) {
            (Some(_), None) => {
                let names = outputs.iter().map(|output| output.name.as_str());
                let help = one_of(&entry.name, "its outputs are", names);
                let message = format!("the kind `{}` has no output `{}`", kind.name(), entry.name);
                report.error(&entry.origin, message).help(help);
            }
            (Some(declared), Some(built)) if built.kind != declared => {
                let message = format!("the output `{}` of `{}` is of type `{}`", entry.name, kind.name(), built.kind);
                report.error(&entry.node.origin, message);
            }
            _ => {}
        }
    }
}

/// Settings that have no effect on a stage of this kind.
fn warn_idle(kind: &dyn DynKind, table: &Table, report: &mut Report) {
    let traits = kind.traits();
    let idle = [("seed", traits.seeded), ("backend", traits.computes), ("precision", traits.computes)];
    for (name, heeded) in idle {
        if let Some(node) = table.get(name).filter(|_| !heeded) {
            report.warning(&node.origin, format!("`{name}` has no effect: the kind `{}` does not use it", kind.name()));
        }
    }
}
