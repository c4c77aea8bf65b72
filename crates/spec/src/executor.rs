//! Where a stage's worker runs: on this machine, or as a job of a Slurm cluster. No part of any key.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::Report;
use crate::keys;
use crate::raw::{Data, Node, Table};
use crate::settings::scalar;

/// Who runs a stage's worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// A process on this machine.
    #[default]
    Local,
    /// A job, submitted with `sbatch`.
    Slurm(SlurmOptions),
}

/// What a job asks of Slurm beyond the stage's needs; the names are `sbatch`'s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmOptions {
    pub partition: Option<String>,
    pub account: Option<String>,
    pub qos: Option<String>,
    pub constraint: Option<String>,
    /// How many points of a matrix may run at once.
    pub at_once: Option<u32>,
    /// Further arguments of `sbatch`.
    pub extra: Vec<String>,
}

/// `executor` and `slurm` of a table, with what it inherits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    is_slurm: bool,
    options: SlurmOptions,
}

impl Choice {
    /// Reads both keys; what the table does not say is inherited.
    pub fn read(table: &Table, inherited: &Choice, report: &mut Report) -> Choice {
        let is_slurm = table.get("executor").and_then(|node| {
            scalar(node, "`executor` must be `local` or `slurm`", report, |value| match value.as_str()? {
                "local" => Some(false),
                "slurm" => Some(true),
                _ => None,
            })
        });
        let mut options = inherited.options.clone();
        if let Some(slurm) = table.entry("slurm").and_then(|entry| keys::expect_table(entry, report)) {
            keys::check_table(slurm, &keys::SLURM, report);
            read_options(slurm, &mut options, report);
        }
        Choice { is_slurm: is_slurm.unwrap_or(inherited.is_slurm), options }
    }

    /// A stage's own `slurm` table without Slurm is most likely a slip.
    pub fn warn_idle(&self, stage: &Table, report: &mut Report) {
        if let Some(entry) = stage.entry("slurm").filter(|_| !self.is_slurm) {
            let help = "add `executor = \"slurm\"` to the stage or to `[pipeline]`".to_string();
            report.warning(&entry.origin, "`slurm` has no effect: the stage runs on this machine").help(help);
        }
    }

    pub fn into_executor(self) -> Executor {
        if self.is_slurm { Executor::Slurm(self.options) } else { Executor::Local }
    }
}

fn read_options(slurm: &Table, options: &mut SlurmOptions, report: &mut Report) {
    let texts = [
        ("partition", &mut options.partition),
        ("account", &mut options.account),
        ("qos", &mut options.qos),
        ("constraint", &mut options.constraint),
    ];
    for (name, field) in texts {
        if let Some(node) = slurm.get(name) {
            let must = format!("`{name}` must be a text that is not empty");
            let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
            *field = scalar(node, &must, report, text).or(field.take());
        }
    }
    if let Some(node) = slurm.get("at_once") {
        let count =
            |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|&count| count > 0);
        options.at_once = scalar(node, "`at_once` must be a whole number, 1 or more", report, count);
    }
    if let Some(node) = slurm.get("extra") {
        options.extra = read_extra(node, report);
    }
}

/// The options that a submission sets itself, and where a person says them instead.
const OWN: [(&str, &str, &str); 20] = [
    ("--partition", "-p", "`slurm.partition`"),
    ("--account", "-A", "`slurm.account`"),
    ("--qos", "-q", "`slurm.qos`"),
    ("--constraint", "-C", "`slurm.constraint`"),
    ("--cpus-per-task", "-c", "`needs.cpus`"),
    ("--mem", "", "`needs.memory`"),
    ("--gpus", "-G", "`needs.gpus`"),
    ("--time", "-t", "`timeout`"),
    ("--array", "-a", "`matrix`"),
    ("--job-name", "-J", ""),
    ("--comment", "", ""),
    ("--output", "-o", ""),
    ("--error", "-e", ""),
    ("--open-mode", "", ""),
    ("--chdir", "-D", ""),
    ("--requeue", "", ""),
    ("--no-requeue", "", ""),
    ("--signal", "", ""),
    ("--wrap", "", ""),
    ("--wait", "-W", ""),
];

fn read_extra(node: &Node, report: &mut Report) -> Vec<String> {
    let Data::Array(items) = &node.data else {
        if !node.broken() {
            report.error(&node.origin, format!("`extra` must be an array of texts, not {}", node.type_name()));
        }
        return Vec::new();
    };
    items.iter().filter_map(|item| read_argument(item, report)).collect()
}

/// One argument of `sbatch`: an option, with its value behind a `=`.
fn read_argument(item: &Node, report: &mut Report) -> Option<String> {
    let must = "an item of `extra` must be an option of `sbatch` in one piece, such as `--exclusive` or `--gres=gpu:1`";
    let option = |value: &Value| value.as_str().filter(|text| text.starts_with('-')).map(str::to_string);
    let argument = scalar(item, must, report, option)?;
    let name = argument.split('=').next().unwrap_or_default();
    let is = |long: &str, short: &str| name == long || (!short.is_empty() && argument.starts_with(short));
    let Some((_, _, instead)) = OWN.iter().find(|(long, short, _)| is(long, short)) else { return Some(argument) };
    let help = if instead.is_empty() { None } else { Some(format!("write {instead} instead")) };
    report.error(&item.origin, format!("`{name}` is set by the runner itself")).help(help);
    None
}
