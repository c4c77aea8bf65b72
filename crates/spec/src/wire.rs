//! Input names to outputs of other stages: ports, types, and how many a port takes.

use gazal_stage_api::{Arity, InPort, OutPort, Role};

use crate::condition::{self, Condition, Written};
use crate::diagnostic::{Mistake, Origin, Report};
use crate::raw::{Data, Entry, Node};
use crate::reference::Directory;
use crate::stage::Draft;
use crate::suggest::one_of;

/// All that ties a draft to others.
#[derive(Default)]
pub(crate) struct Ties {
    pub wires: Vec<Wire>,
    pub when: Vec<Condition>,
    pub gates: Vec<Condition>,
    pub service: Option<usize>,
    /// What conditions and services need, beyond the wires.
    further: Vec<Link>,
}

impl Ties {
    /// Every other draft that must be done before this one, and where the file says so.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.wires.iter().flat_map(|wire| &wire.from).chain(&self.further)
    }
}

/// Connects one draft: its inputs, its conditions and the stage that serves it.
pub(crate) fn tie(at: usize, drafts: &[Box<Draft>], directory: &Directory, report: &mut Report) -> Ties {
    let draft = &drafts[at];
    let wires = connect(draft, drafts, directory, report);
    let mut further = Vec::new();
    let mut conditions = |all: &[Written], report: &mut Report| -> Vec<Condition> {
        let mut read = Vec::new();
        for Written { text, origin } in all {
            match condition::resolve(text, drafts, directory) {
                Ok(condition) => {
                    let condition = condition.seen_from(at);
                    let others = condition.stages().filter(|&stage| stage != at);
                    further.extend(others.map(|stage| Link { stage, output: String::new(), origin: origin.clone() }));
                    read.push(condition);
                }
                Err(mistake) => report.mistake(origin, mistake),
            }
        }
        read
    };
    let (when, gates) = (conditions(&draft.when, report), conditions(&draft.gates, report));
    let service = draft.service.as_ref().and_then(|written| {
        let found = service(written, at, drafts, directory);
        found.map_err(|mistake| report.mistake(&written.origin, mistake)).ok().flatten()
    });
    further.extend(service.zip(draft.service.as_ref()).map(|(stage, written)| Link {
        stage,
        output: String::new(),
        origin: written.origin.clone(),
    }));
    if let (Some(own), Some(written)) =
        (when.iter().find(|one| one.stages().any(|stage| stage == at)), draft.when.first())
    {
        report.error(
            &written.origin,
            format!("`{}` decides whether the stage runs, but needs its own metrics", own.text),
        );
    }
    Ties { wires, when, gates, service, further }
}

/// The one stage that serves another; `None` where that is unknown because of another mistake.
fn service(
    written: &Written,
    at: usize,
    drafts: &[Box<Draft>],
    directory: &Directory,
) -> Result<Option<usize>, Mistake> {
    let name = &written.text;
    let wrong = |message: String, help: &str| Err(Mistake { message, help: Some(help.to_string()) });
    let found = directory.find(name)?;
    match found.points.as_slice() {
        [] => Ok(None),
        [one] if *one == at => wrong(format!("the stage `{name}` cannot serve itself"), "name another stage"),
        [one] if drafts[*one].kind.is_some_and(|kind| !kind.traits().serves) => wrong(
            format!("the stage `{name}` is of a kind that does not serve"),
            "an `exec` stage can: it listens on $GAZAL_PORT",
        ),
        [one] => Ok(Some(*one)),
        _ => wrong(format!("`{name}` has several points"), "select one point of the matrix: `stage@axis=value`"),
    }
}

/// A connected port of a draft.
pub(crate) struct Wire {
    pub port: String,
    pub from: Vec<Link>,
}

pub(crate) struct Link {
    pub stage: usize,
    pub output: String,
    pub origin: Origin,
}

/// The wires of one draft, in the order of its ports.
pub(crate) fn connect(draft: &Draft, drafts: &[Box<Draft>], directory: &Directory, report: &mut Report) -> Vec<Wire> {
    let connector = Connector { draft, drafts, directory };
    let Some(ports) = &draft.ports else {
        return draft.inputs.iter().map(|entry| connector.wire(entry, None, report)).collect();
    };
    for entry in draft.inputs.iter() {
        if !ports.inputs.iter().any(|port| port.name == entry.name) {
            unknown_port(draft, entry, &ports.inputs, report);
            connector.wire(entry, None, report);
        }
    }
    let mut wires = Vec::with_capacity(ports.inputs.len());
    wires.extend(ports.inputs.iter().filter_map(|port| connector.connect(port, report)));
    wires
}

fn unknown_port(draft: &Draft, entry: &Entry, ports: &[InPort], report: &mut Report) {
    let kind = draft.kind.map_or("", |kind| kind.name());
    let help = one_of(&entry.name, "its inputs are", ports.iter().map(|port| port.name.as_str()));
    report.error(&entry.origin, format!("the kind `{kind}` has no input `{}`", entry.name)).help(help);
}

struct Connector<'a> {
    draft: &'a Draft,
    drafts: &'a [Box<Draft>],
    directory: &'a Directory,
}

impl Connector<'_> {
    fn connect(&self, port: &InPort, report: &mut Report) -> Option<Wire> {
        match self.draft.inputs.entry(&port.name) {
            Some(entry) => Some(self.wire(entry, Some(port), report)).filter(|wire| !wire.from.is_empty()),
            None => {
                self.check_connected(port, report);
                None
            }
        }
    }

    fn check_connected(&self, port: &InPort, report: &mut Report) {
        if matches!(port.arity, Arity::One | Arity::Many) {
            let kind = self.draft.kind.map_or("", |kind| kind.name());
            let message = format!("the stage `{}` needs the input `{}`", self.draft.base, port.name);
            let what = port.accepts.map_or("any artifact".to_string(), |accepts| format!("`{accepts}`"));
            let help = format!("the kind `{kind}` takes {what} there: {}", port.doc);
            report.error(&self.draft.origin, message).help(help);
        }
    }

    /// Without a port only the names are checked: the kind or its parameters are wrong already.
    fn wire(&self, entry: &Entry, port: Option<&InPort>, report: &mut Report) -> Wire {
        let mut complete = true;
        let mut from = Vec::new();
        for item in items(&entry.node) {
            match self.links(item, port, report) {
                Some(links) => from.extend(links),
                None => complete = false,
            }
        }
        if let Some(port) = port.filter(|_| complete) {
            check_arity(entry, port, &from, report);
        }
        from.shrink_to_fit();
        Wire { port: entry.name.clone(), from }
    }

    /// What one text connects; `None` when that is unknown, because of a mistake.
    fn links(&self, item: &Node, port: Option<&InPort>, report: &mut Report) -> Option<Vec<Link>> {
        if item.broken() {
            return None;
        }
        let Some(text) = item.as_str() else {
            let message = format!("an input is the name of a stage, or an array of them, not {}", item.type_name());
            report.error(&item.origin, message);
            return None;
        };
        if text.is_empty() {
            return Some(Vec::new());
        }
        let found = self.directory.find(text);
        let found = found.map_err(|miss| report.mistake(&item.origin, miss)).ok()?;
        if found.points.is_empty() {
            return None;
        }
        let link = |&stage: &usize| {
            let output = self.output(stage, found.output.as_deref(), port, item, report)?;
            Some(Link { stage, output, origin: item.origin.clone() })
        };
        let links: Vec<Option<Link>> = found.points.iter().map(link).collect();
        links.into_iter().collect()
    }

    /// The output that is meant; checked as far as both ends are known.
    fn output(
        &self,
        stage: usize,
        named: Option<&str>,
        port: Option<&InPort>,
        item: &Node,
        report: &mut Report,
    ) -> Option<String> {
        let producer = &self.drafts[stage];
        let Some(outputs) = producer.ports.as_ref().and_then(|ports| ports.outputs.as_ref()) else {
            return Some(named.unwrap_or_default().to_string());
        };
        let found = match named {
            Some(name) => named_output(&producer.base, name, outputs, port),
            None => only_output(item.as_str().unwrap_or_default(), &producer.base, outputs, port),
        };
        found.map_err(|mistake| report.mistake(&item.origin, mistake)).ok()
    }
}

fn named_output(base: &str, name: &str, outputs: &[OutPort], port: Option<&InPort>) -> Result<String, Mistake> {
    let Some(output) = outputs.iter().find(|output| output.name == name) else {
        let help = one_of(name, "its outputs are", outputs.iter().map(|output| output.name.as_str()));
        return Err(Mistake { message: format!("the stage `{base}` has no output `{name}`"), help });
    };
    if output.role == Role::Record {
        let message = format!("`{base}.{name}` is a record and never an input");
        return Err(Mistake { message, help: values_help(outputs) });
    }
    match port.filter(|port| !accepts(port, output)) {
        None => Ok(output.name.clone()),
        Some(port) => Err(wrong_type(port, &format!("`{base}.{name}` is of type `{}`", output.kind), None)),
    }
}

/// The only value output that the port accepts.
fn only_output(text: &str, base: &str, outputs: &[OutPort], port: Option<&InPort>) -> Result<String, Mistake> {
    let Some(port) = port else { return Ok(String::new()) };
    let values: Vec<&OutPort> = outputs.iter().filter(|output| output.role == Role::Value).collect();
    let fitting: Vec<&OutPort> = values.iter().copied().filter(|output| accepts(port, output)).collect();
    match (fitting.as_slice(), values.as_slice()) {
        ([output], _) => Ok(output.name.clone()),
        ([], [only]) => Err(wrong_type(port, &format!("`{base}` gives `{}`", only.kind), None)),
        ([], _) => Err(wrong_type(port, &format!("`{base}` gives none"), values_help(outputs))),
        _ => {
            let choices: Vec<String> = fitting.iter().map(|output| format!("`{text}.{}`", output.name)).collect();
            let message = format!("`{base}` has several outputs that fit the input `{}`", port.name);
            Err(Mistake { message, help: Some(format!("name one: {}", choices.join(", "))) })
        }
    }
}

fn accepts(port: &InPort, output: &OutPort) -> bool {
    port.accepts.is_none_or(|accepts| accepts == output.kind)
}

fn wrong_type(port: &InPort, what: &str, help: Option<String>) -> Mistake {
    let accepts = port.accepts.map_or("anything", |accepts| accepts.name());
    Mistake { message: format!("the input `{}` takes `{accepts}`, but {what}", port.name), help }
}

fn values_help(outputs: &[OutPort]) -> Option<String> {
    let values = outputs.iter().filter(|output| output.role == Role::Value);
    let values: Vec<String> = values.map(|output| format!("{} ({})", output.name, output.kind)).collect();
    (!values.is_empty()).then(|| format!("its outputs are: {}", values.join(", ")))
}

/// How many artifacts the port takes, and whether it may stay open.
fn check_arity(entry: &Entry, port: &InPort, from: &[Link], report: &mut Report) {
    let may_be_open = matches!(port.arity, Arity::Optional | Arity::Any);
    let takes_several = matches!(port.arity, Arity::Many | Arity::Any);
    if let Some(empty) = items(&entry.node).find(|item| item.as_str() == Some("")).filter(|_| !may_be_open) {
        report.error(&empty.origin, format!("the input `{}` cannot be left out", port.name));
    } else if from.is_empty() && !may_be_open {
        report.error(&entry.node.origin, format!("the input `{}` needs at least one stage", port.name));
    }
    if from.len() > 1 && !takes_several {
        let message = format!("the input `{}` takes one artifact, and these are {}", port.name, from.len());
        let gathers = matches!(entry.node.data, Data::Scalar(_));
        let help = gathers.then(|| "select one point of the matrix: `stage@axis=value,…`".to_string());
        report.error(&entry.node.origin, message).help(help);
    }
}

/// One text or an array of them.
pub(crate) fn items(node: &Node) -> impl Iterator<Item = &Node> {
    let (one, many) = match &node.data {
        Data::Array(items) => (None, items.as_slice()),
        _ => (Some(node), &[][..]),
    };
    one.into_iter().chain(many)
}
