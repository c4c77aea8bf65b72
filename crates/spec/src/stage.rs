//! One stage table to drafts: one a matrix point, complete but for its connections.

use std::collections::BTreeMap;

use gazal_stage_api::{Declared, DynKind, InPort, Kinds, OutPort, PortType};
use serde_json::{Map, Value};

use crate::diagnostic::{Origin, Report};
use crate::executor::Choice;
use crate::params::{Checker, Params};
use crate::raw::{Data, Entry, Node, Table};
use crate::settings::{Needs, Settings, read_needs};
use crate::source::Lines;
use crate::substitute::{Axes, Scope};
use crate::suggest::{nearest, one_of};
use crate::{Place, keys, matrix};

/// A stage or matrix point whose inputs are still names.
pub(crate) struct Draft {
    pub name: String,
    pub base: String,
    /// The stage's name in the file.
    pub origin: Origin,
    /// `None` when the kind is unknown, which is reported.
    pub kind: Option<&'static dyn DynKind>,
    pub params: Map<String, Value>,
    /// `None` when the kind is unknown or cannot tell.
    pub ports: Option<Ports>,
    /// The table `inputs`.
    pub inputs: Table,
    pub settings: Settings,
    pub needs: Needs,
    pub executor: Choice,
    pub places: BTreeMap<String, Place>,
    pub matrix: BTreeMap<String, Value>,
}

pub(crate) struct Ports {
    pub inputs: Vec<InPort>,
    /// `None` when a parameter that may decide them is wrong, which is reported.
    pub outputs: Option<Vec<OutPort>>,
}

/// What all stages of a file are read with.
pub(crate) struct Reader<'a> {
    pub lines: &'a Lines<'a>,
    pub kinds: &'a Kinds,
    pub params: &'a Table,
    /// The table `[pipeline]`, for the places of inherited values.
    pub pipeline: &'a Table,
    pub stages: &'a Table,
    pub defaults: Settings,
    pub executor: Choice,
}

/// A stage of the file with its kind, before its matrix is expanded.
struct Named<'a> {
    entry: &'a Entry,
    table: &'a Table,
    kind: Option<&'a Checker>,
}

/// What became of a stage table.
pub(crate) enum Read {
    Drafts(Vec<Draft>),
    Disabled,
    /// Its points could not be found out, and the reason is reported; with what else could be read.
    Opaque(Option<Box<Draft>>),
}

impl Reader<'_> {
    pub fn read(&self, stage: &Entry, report: &mut Report) -> Read {
        check_name(stage, report);
        let Some(table) = stage.node.as_table() else { return Read::Opaque(None) };
        if !self.enabled(table, report) {
            return Read::Disabled;
        }
        let kind = self.kind(stage, table, report).map(Checker::new);
        let stage = Named { entry: stage, table, kind: kind.as_ref() };
        match self.points(table, report) {
            None => Read::Opaque(Some(Box::new(self.draft(&stage, Axes::Broken, report)))),
            Some(points) if points.is_empty() => Read::Drafts(vec![self.draft(&stage, Axes::Absent, report)]),
            Some(points) => {
                Read::Drafts(points.iter().map(|point| self.draft(&stage, Axes::Point(point), report)).collect())
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
        if let Data::Scalar(Value::Bool(flag)) = node.data {
            return flag;
        }
        if !node.broken() {
            report.error(&node.origin, format!("`enabled` must be true or false, not {}", node.type_name()));
        }
        true
    }

    /// None for a stage without a matrix.
    fn points(&self, table: &Table, report: &mut Report) -> Option<Vec<matrix::Point>> {
        let Some(entry) = table.entry("matrix") else { return Some(Vec::new()) };
        let node = self.before_points().apply(&entry.node, report);
        matrix::expand(&Entry { node, ..entry.clone() }, report)
    }

    fn draft(&self, stage: &Named, axes: Axes, report: &mut Report) -> Draft {
        let table = self.replace(stage.table, Scope { params: self.params, matrix: axes }, report);
        let written = subtable(&table, "params", report);
        let inputs = subtable(&table, "inputs", report);
        let declared = declare(&table, &inputs, report);
        let params = match stage.kind {
            Some(checker) => checker.check(&written, &stage.entry.origin, report),
            None => Params { table: written, readable: false },
        };
        let kind = stage.kind.map(|checker| checker.kind);
        let ports = stage.kind.and_then(|checker| ask_ports(checker, &params, &declared));
        if let Some(kind) = kind {
            check_outputs(kind, ports.as_ref(), &table, report);
            warn_idle(kind, &table, report);
        }
        let executor = Choice::read(&table, &self.executor, report);
        executor.warn_idle(&table, report);
        let none = Table::default();
        let point = if let Axes::Point(point) = axes { point } else { &none };
        Draft {
            name: matrix::point_name(&stage.entry.name, point),
            base: stage.entry.name.clone(),
            origin: stage.entry.origin.clone(),
            kind,
            ports,
            inputs,
            settings: Settings::read(&table, self.defaults, report),
            needs: table.get("needs").map(|node| read_needs(node, report)).unwrap_or_default(),
            executor,
            places: self.places(stage, &table, &params.table),
            params: params.table.to_map(),
            matrix: point.to_map().into_iter().collect(),
        }
    }

    /// The stage's table with its references replaced; `kind`, `enabled` and `matrix` are read before that.
    fn replace(&self, table: &Table, scope: Scope, report: &mut Report) -> Table {
        let early = |entry: &&Entry| !["kind", "enabled", "matrix"].contains(&entry.name.as_str());
        scope.apply_table(&table.iter().filter(early).cloned().collect(), report)
    }

    fn kind(&self, stage: &Entry, table: &Table, report: &mut Report) -> Option<&'static dyn DynKind> {
        let Some(node) = table.get("kind") else {
            let others = self.stages.names().filter(|name| *name != stage.name);
            let meant = nearest(&stage.name, others).map(|name| format!("; or was the stage `{name}` meant?"));
            let help = format!("add `kind = \"…\"`{}", meant.unwrap_or_default());
            report.error(&stage.origin, format!("the stage `{}` has no `kind`", stage.name)).help(help);
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

    fn places(&self, stage: &Named, table: &Table, params: &Table) -> BTreeMap<String, Place> {
        let mut places = BTreeMap::new();
        for name in ["seed", "backend", "precision", "executor"] {
            let node = table.get(name).or_else(|| self.pipeline.get(name));
            self.add_place(&mut places, name, node.map(|node| &node.origin));
        }
        self.add_place(&mut places, "", Some(&stage.entry.origin));
        self.add_place(&mut places, "kind", stage.table.get("kind").map(|node| &node.origin));
        for name in ["inputs", "outputs", "needs"] {
            for entry in table.table(name).into_iter().flat_map(Table::iter) {
                self.add_place(&mut places, &format!("{name}.{}", entry.name), Some(&entry.node.origin));
            }
        }
        for entry in params.iter() {
            self.add_places(&mut places, &format!("params.{}", entry.name), &entry.node);
        }
        places
    }

    /// The places of a value and of all that is nested in it.
    fn add_places(&self, places: &mut BTreeMap<String, Place>, name: &str, node: &Node) {
        self.add_place(places, name, Some(&node.origin));
        for entry in node.as_table().into_iter().flat_map(Table::iter) {
            self.add_places(places, &format!("{name}.{}", entry.name), &entry.node);
        }
    }

    fn add_place(&self, places: &mut BTreeMap<String, Place>, name: &str, origin: Option<&Origin>) {
        if let Some(Origin::File(span)) = origin {
            places.insert(name.into(), self.lines.place(span.start));
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

/// The table under `name`, empty if it is missing or reported.
fn subtable(table: &Table, name: &str, report: &mut Report) -> Table {
    table.entry(name).and_then(|entry| keys::expect_table(entry, report)).cloned().unwrap_or_default()
}

fn declare(table: &Table, inputs: &Table, report: &mut Report) -> Declared {
    let outputs = subtable(table, "outputs", report);
    let typed = outputs.iter().filter_map(|entry| Some((entry.name.clone(), read_type(entry, report)?))).collect();
    Declared { inputs: inputs.names().map(str::to_string).collect(), outputs: typed }
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
        let map = params.table.to_map();
        return Some(Ports {
            inputs: kind.inputs(&map, declared).ok()?,
            outputs: Some(kind.outputs(&map, declared).ok()?),
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
