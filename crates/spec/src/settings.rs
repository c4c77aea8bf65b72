//! Seed, backend, precision and needs: what the engine, not the kind, must know of a stage.

use gazal_stage_api::{Backend, Precision};
use serde_json::Value;

use crate::diagnostic::Report;
use crate::keys;
use crate::raw::{Data, Node, Table};
use crate::suggest::did_you_mean;

/// The backend that a stage asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// The engine picks one before it computes keys.
    Auto,
    Given(Backend),
}

/// What a stage takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub gpus: u32,
    /// CPU slots; 0 when the file does not say.
    pub cpus: u32,
    /// In bytes.
    pub memory: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub seed: u64,
    pub backend: BackendChoice,
    pub precision: Precision,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { seed: 0, backend: BackendChoice::Given(Backend::Cpu), precision: Precision::default() }
    }
}

impl Settings {
    /// Reads `seed`, `backend` and `precision` of a table; what it does not say is inherited.
    pub fn read(table: &Table, inherited: Settings, report: &mut Report) -> Settings {
        let seed = table.get("seed").and_then(|node| read_seed(node, report));
        let backend = table.get("backend").and_then(|node| read_backend(node, report));
        let precision = table.get("precision").and_then(|node| read_precision(node, report));
        Settings {
            seed: seed.unwrap_or(inherited.seed),
            backend: backend.unwrap_or(inherited.backend),
            precision: precision.unwrap_or(inherited.precision),
        }
    }
}

fn read_seed(node: &Node, report: &mut Report) -> Option<u64> {
    scalar(node, "`seed` must be an integer from 0 to 2^64 - 1", report, Value::as_u64)
}

fn read_backend(node: &Node, report: &mut Report) -> Option<BackendChoice> {
    let parse = |value: &Value| match value.as_str()? {
        "auto" => Some(BackendChoice::Auto),
        name => Backend::from_name(name).map(BackendChoice::Given),
    };
    scalar(node, "`backend` must be `cpu`, `wgpu`, `wgpu:0`, `cuda`, `cuda:0` or `auto`", report, parse)
}

fn read_precision(node: &Node, report: &mut Report) -> Option<Precision> {
    let parse = |value: &Value| Precision::from_name(value.as_str()?);
    scalar(node, "`precision` must be `f32` or `bf16`", report, parse)
}

/// Reads the table `needs`.
pub(crate) fn read_needs(node: &Node, report: &mut Report) -> Needs {
    let Some(table) = node.as_table() else {
        if !node.broken() {
            report.error(&node.origin, format!("`needs` must be a table, not {}", node.type_name()));
        }
        return Needs::default();
    };
    keys::check_table(table, &keys::NEEDS, report);
    let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
    let positive = |value: &Value| count(value).filter(|count| *count > 0);
    let read = |name, what, parse: &dyn Fn(&Value) -> Option<u32>, report: &mut Report| {
        table.get(name).and_then(|node| scalar(node, what, report, parse)).unwrap_or_default()
    };
    Needs {
        gpus: read("gpus", "`gpus` must be a whole number", &count, report),
        cpus: read("cpus", "`cpus` must be a whole number, 1 or more", &positive, report),
        memory: table.get("memory").and_then(|node| {
            scalar(node, "`memory` must be a size, such as `\"80GiB\"` or a number of bytes", report, read_bytes)
        }),
    }
}

/// A scalar as `parse` reads it, or a report that says what it must be.
pub(crate) fn scalar<T>(
    node: &Node,
    must: &str,
    report: &mut Report,
    parse: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let read = match &node.data {
        Data::Broken => return None,
        Data::Scalar(scalar) => parse(&scalar.to_value()),
        Data::Array(_) | Data::Table(_) => None,
    };
    if read.is_none() {
        let names = ["wgpu", "cuda", "cpu", "auto", "f32", "bf16", "local", "slurm"]
            .into_iter()
            .filter(|name| must.contains(name));
        let help = node.as_str().and_then(|text| did_you_mean(text, names));
        report.error(&node.origin, must).help(help);
    }
    read
}

fn read_bytes(value: &Value) -> Option<u64> {
    match value.as_str() {
        Some(text) => parse_bytes(text),
        None => value.as_u64().filter(|bytes| *bytes > 0),
    }
}

/// A size with its unit, such as `80GiB`, in bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let amount: f64 = text[..unit_at].trim().parse().ok()?;
    let bytes = amount * unit(text[unit_at..].trim())?;
    (bytes >= 1.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

fn unit(name: &str) -> Option<f64> {
    let name = name.to_ascii_lowercase();
    let (prefix, base) = match name.strip_suffix("ib") {
        Some(prefix) => (prefix, 1024_f64),
        None => (name.strip_suffix('b').unwrap_or(&name), 1000_f64),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|unit| *unit == prefix)?;
    Some(base.powi(i32::try_from(power).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(read_bytes(&json!("80GiB")), Some(80 << 30));
        assert_eq!(read_bytes(&json!("1.5 KiB")), Some(1536));
        assert_eq!(read_bytes(&json!("2GB")), Some(2_000_000_000));
        assert_eq!(read_bytes(&json!("512")), Some(512));
        assert_eq!(read_bytes(&json!(512)), Some(512));
        for wrong in [json!("much"), json!("-1GiB"), json!("5XB"), json!(""), json!(0), json!(true)] {
            assert_eq!(read_bytes(&wrong), None, "{wrong}");
        }
    }
}
