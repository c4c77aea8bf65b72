//! Retries, timeout, pool, allowed failure: how a stage is run. None of it can change a result, so none is in a key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::diagnostic::Report;
use crate::keys::{self, expect_table};
use crate::raw::{Data, Node, Table};
use crate::settings::scalar;
use crate::suggest::one_of;

/// How a stage is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// The pause before the first retry; doubled before each further one.
    pub backoff: Duration,
    /// After so long a worker is told to write a checkpoint and ended; that counts as a failure.
    pub timeout: Option<Duration>,
    /// Its failure is no failure of the run.
    pub allow_failure: bool,
    /// One of [`crate::Pipeline::pools`].
    pub pool: Option<String>,
}

/// The pause before a first retry where the file does not say.
const BACKOFF: Duration = Duration::from_secs(1);
const DURATION: &str = "must be a time, such as `\"90s\"`, `\"15min\"`, `\"1h30m\"` or `\"2d\"`";

impl Default for Policy {
    fn default() -> Policy {
        Policy { retries: 0, backoff: BACKOFF, timeout: None, allow_failure: false, pool: None }
    }
}

impl Policy {
    /// Reads a stage's table; `pools` are those of the file.
    pub(crate) fn read(table: &Table, pools: &BTreeMap<String, u32>, report: &mut Report) -> Policy {
        let (retries, backoff) = table.get("retries").map_or((0, BACKOFF), |node| read_retries(node, report));
        let timeout = table.get("timeout").and_then(|node| read_time(node, "timeout", report));
        let allowed = table.get("allow_failure");
        let allowed =
            allowed.and_then(|node| scalar(node, "`allow_failure` must be true or false", report, Value::as_bool));
        let pool = table.get("pool").and_then(|node| read_pool(node, pools, report));
        Policy { retries, backoff, timeout, allow_failure: allowed.unwrap_or_default(), pool }
    }
}

/// `retries = 2`, or `retries = { max = 2, backoff = "10s" }`.
fn read_retries(node: &Node, report: &mut Report) -> (u32, Duration) {
    let Some(table) = node.as_table() else {
        return (
            scalar(node, "`retries` must be a whole number, or a table with `max`", report, whole).unwrap_or(0),
            BACKOFF,
        );
    };
    keys::check_table(table, &keys::RETRIES, report);
    let most = table.get("max").and_then(|node| scalar(node, "`max` must be a whole number", report, whole));
    let backoff = table.get("backoff").and_then(|node| read_time(node, "backoff", report));
    (most.unwrap_or(1), backoff.unwrap_or(BACKOFF))
}

fn read_time(node: &Node, name: &str, report: &mut Report) -> Option<Duration> {
    scalar(node, &format!("`{name}` {DURATION}"), report, |value| parse_duration(value.as_str()?))
}

fn read_pool(node: &Node, pools: &BTreeMap<String, u32>, report: &mut Report) -> Option<String> {
    let name = scalar(node, "`pool` must be the name of a pool", report, |value| value.as_str().map(str::to_string))?;
    if pools.contains_key(&name) {
        return Some(name);
    }
    let help = match pools.is_empty() {
        true => Some(format!("add it to the file: `[pools]` with `{name} = 1`")),
        false => one_of(&name, "the pools are", pools.keys().map(String::as_str)),
    };
    report.error(&node.origin, format!("there is no pool `{name}`")).help(help);
    None
}

/// The table `[pools]`: how many stages of each may run at once.
pub(crate) fn read_pools(file: &Table, report: &mut Report) -> BTreeMap<String, u32> {
    let table = file.entry("pools").and_then(|entry| expect_table(entry, report));
    let size = |value: &Value| whole(value).filter(|size| *size > 0);
    let mut pools = BTreeMap::new();
    for entry in table.into_iter().flat_map(Table::iter) {
        let must = format!("the pool `{}` must be a whole number, 1 or more", entry.name);
        if let Some(size) = scalar(&entry.node, &must, report, size) {
            pools.insert(entry.name.clone(), size);
        }
    }
    pools
}

fn whole(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

/// The texts of a condition or of an array of them.
pub(crate) fn texts<'a>(node: &'a Node, name: &str, report: &mut Report) -> Vec<(&'a Node, &'a str)> {
    let items = match &node.data {
        Data::Array(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut texts = Vec::new();
    for item in items {
        match item.as_str() {
            Some(text) => texts.push((item, text)),
            None if item.broken() => {}
            None => {
                let message =
                    format!("`{name}` is a comparison of metrics, or an array of them, not {}", item.type_name());
                report.error(&item.origin, message).help(Some(crate::condition::EXAMPLE.to_string()));
            }
        }
    }
    texts
}

/// `90s`, `15min`, `1h30m`: numbers with units, largest first or not.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let amount: f64 = rest[..unit_at].trim().parse().ok()?;
        let after = rest[unit_at..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |end| unit_at + end);
        seconds += amount * unit(&rest[unit_at..after])?;
        rest = rest[after..].trim_start();
    }
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let seconds = |text| parse_duration(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("90s"), Some(90.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5 h"), Some(5400.0));
        assert_eq!(seconds("2d 500ms"), Some(172_800.5));
        for wrong in ["", "5", "h", "5 weeks", "-1s", "0s", "1e400d", "s5"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
