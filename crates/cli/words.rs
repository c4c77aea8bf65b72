//! Numbers, values and tables as people read them.

use gazal_engine::Cause;
use gazal_stage_api::Asks;
use serde_json::Value;

/// `40 ms`, `2.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 0.0995 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// `1.4 MiB`
pub(crate) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// A measured number: few digits, no trailing zeros' worth of noise.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.001 || size == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// `at most 400 times, about 0.9 million tokens, 1.72 at its price (more than its \`max_cost\` of 1.00), 6 min at its rate`
pub(crate) fn asks(asks: &Asks) -> String {
    let mut text = format!("at most {} times, about {:.1} million tokens", asks.requests, asks.tokens as f64 / 1e6);
    if let Some(cost) = asks.cost {
        text += &format!(", {cost:.2} at its price");
        if let Some(most) = asks.max_cost.filter(|most| cost > *most) {
            text += &format!(" (more than its `max_cost` of {most:.2})");
        }
    }
    if let Some(seconds) = asks.seconds {
        text += &format!(", {} at its rate", duration(seconds));
    }
    text
}

/// A manifest's value; digests shortened.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            text[..12].into()
        }
        Value::Array(items) => format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// `params.beta: 0.1 -> 0.2 (pipeline.toml:12:8)`
pub(crate) fn cause(cause: &Cause) -> String {
    let shown = |side: &Option<Value>| side.as_ref().map_or_else(|| "not set".to_string(), value);
    let what = match cause.field.as_str() {
        "new" => "it never ran".to_string(),
        "forced" => "you asked for it (--force)".into(),
        "lost_blob" => "its result was lost from the store".into(),
        field if field.starts_with("inputs.") && cause.now.is_none() => format!("{field}: what it reads is made anew"),
        field => format!("{field}: {} -> {}", shown(&cause.was), shown(&cause.now)),
    };
    match &cause.place {
        Some(place) => format!("{what}  ({place})"),
        None => what,
    }
}

/// Columns padded to their widest cell, two spaces apart.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_sizes() {
        let shown: Vec<String> = [0.04, 9.94, 59.4, 200.0, 7500.0].into_iter().map(duration).collect();
        assert_eq!(shown, ["40 ms", "9.9 s", "59 s", "3 min 20 s", "2 h 05 min"]);
        assert_eq!([bytes(7), bytes(1_500), bytes(3 << 30)], ["7 B", "1.5 KiB", "3.0 GiB"]);
    }

    #[test]
    fn questions_are_told_with_what_they_cost() {
        let plain = Asks { requests: 400, tokens: 940_000, cost: None, max_cost: Some(1.0), seconds: None };
        assert_eq!(asks(&plain), "at most 400 times, about 0.9 million tokens");
        let priced = Asks { cost: Some(1.724), seconds: Some(400.0), ..plain };
        let told = "1.72 at its price (more than its `max_cost` of 1.00), 6 min 40 s at its rate";
        assert!(asks(&priced).ends_with(told), "{}", asks(&priced));
    }

    #[test]
    fn causes_name_field_values_and_place() {
        let place = gazal_spec::Place { file: "p.toml".into(), line: 3, column: 8 };
        let changed = Cause { field: "params.beta".into(), was: Some(json!(0.1)), now: None, place: Some(place) };
        assert_eq!(cause(&changed), "params.beta: 0.1 -> not set  (p.toml:3:8)");
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "2".into()]];
        assert_eq!(table(&rows), "a     1\nlong  2");
    }
}
