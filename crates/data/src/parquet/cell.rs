//! One row as JSON. The library gives values; what they are (nanoseconds, local time, text) the column's type says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::record::{Field, Row as Cells};
use parquet::schema::types::{ColumnDescriptor, Type};
use serde_json::{Map, Value, json};

use crate::Row;

/// Refuses what would lose something.
pub(super) fn check(column: &ColumnDescriptor) -> Result<(), String> {
    let name = column.path().string();
    if column.physical_type() == Physical::INT96 {
        return Err(format!("the column `{name}` is of the old type INT96: write timestamps in microseconds"));
    }
    if column.converted_type() == ConvertedType::INTERVAL {
        return Err(format!("the column `{name}` has intervals, which are not read: write their parts"));
    }
    Ok(())
}

/// The columns of a row, or the fields of a struct of this type.
pub(super) fn row(cells: Cells, of: &Type) -> Result<Row, String> {
    let mut row = Map::new();
    for (index, (name, field)) in cells.into_columns().into_iter().enumerate() {
        let of = fields(of).get(index).ok_or("a row has more columns than the file")?;
        let value = value(&field, of)?;
        if row.insert(name.clone(), value).is_some() {
            return Err(format!("two columns are called `{name}`"));
        }
    }
    Ok(row)
}

fn fields(of: &Type) -> &[parquet::schema::types::TypePtr] {
    if of.is_group() { of.get_fields() } else { &[] }
}

fn value(field: &Field, of: &Type) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => long(*value, of)?,
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float16(value) => float(f64::from(*value)),
        Field::Float(value) => float(f64::from(*value)),
        Field::Double(value) => float(*value),
        Field::Decimal(_) => Value::from(field.to_string()),
        Field::Str(value) => Value::from(value.as_str()),
        Field::Bytes(value) => bytes(value.data(), of)?,
        Field::Date(days) => date(*days)?,
        Field::TimeMillis(millis) => time(i64::from(*millis) * 1_000_000)?,
        Field::TimeMicros(micros) => time(micros.checked_mul(1000).ok_or("a time of no day")?)?,
        Field::TimestampMillis(millis) => timestamp(DateTime::from_timestamp_millis(*millis), of)?,
        Field::TimestampMicros(micros) => timestamp(DateTime::from_timestamp_micros(*micros), of)?,
        Field::Group(cells) => Value::Object(row(cells.clone(), of)?),
        Field::ListInternal(list) => {
            let of = element(of);
            Value::Array(list.elements().iter().map(|field| value(field, of)).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let [key, worth] = pair(of)?;
            let entry = |(k, v): &(Field, Field)| Ok(json!({"key": value(k, key)?, "value": value(v, worth)?}));
            Value::Array(map.entries().iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

/// JSON has no words for what is no number.
fn float(value: f64) -> Value {
    match value {
        _ if value.is_nan() => Value::from("NaN"),
        f64::INFINITY => Value::from("Infinity"),
        f64::NEG_INFINITY => Value::from("-Infinity"),
        _ => Value::from(value),
    }
}

/// Nanoseconds are integers to the library.
fn long(value: i64, of: &Type) -> Result<Value, String> {
    match of.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(of_time)) if of_time.unit == TimeUnit::NANOS => {
            timestamp(Some(DateTime::from_timestamp_nanos(value)), of)
        }
        Some(LogicalType::Time(of_time)) if of_time.unit == TimeUnit::NANOS => time(value),
        _ => Ok(Value::from(value)),
    }
}

fn bytes(value: &[u8], of: &Type) -> Result<Value, String> {
    match of.get_basic_info().logical_type_ref() {
        Some(LogicalType::String | LogicalType::Json | LogicalType::Enum) => {
            let text = std::str::from_utf8(value).map_err(|error| format!("a text is no UTF-8: {error}"))?;
            Ok(Value::from(text))
        }
        _ => Ok(Value::from(STANDARD.encode(value))),
    }
}

fn date(days: i32) -> Result<Value, String> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
    date.map(|date| Value::from(date.to_string())).ok_or_else(|| format!("a date {days} days after 1970"))
}

/// `nanos` since midnight.
fn time(nanos: i64) -> Result<Value, String> {
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let time = u32::try_from(seconds).ok().zip(u32::try_from(rest).ok());
    let time = time.and_then(|(seconds, rest)| NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest));
    time.map(|time| Value::from(time.format("%H:%M:%S%.f").to_string())).ok_or("a time of no day".to_string())
}

/// In UTC where the type does not say otherwise.
fn timestamp(moment: Option<DateTime<chrono::Utc>>, of: &Type) -> Result<Value, String> {
    let moment = moment.ok_or("a timestamp beyond all calendars")?;
    let is_local = match of.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(of_time)) => !of_time.is_adjusted_to_u_t_c,
        _ => false,
    };
    let local = |moment: NaiveDateTime| moment.format("%Y-%m-%dT%H:%M:%S%.f").to_string();
    Ok(Value::from(match is_local {
        true => local(moment.naive_utc()),
        false => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    }))
}

/// The type of a list's elements, by the rules that the library follows too.
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists>
fn element(of: &Type) -> &Type {
    let annotation = |of: &Type| of.get_basic_info().converted_type();
    let Some(repeated) = fields(of).first().filter(|_| annotation(of) != ConvertedType::NONE) else { return of };
    let [child] = fields(repeated) else { return repeated };
    let is_named = repeated.name() == "array" || repeated.name().ends_with("_tuple");
    let is_nested = annotation(repeated) == ConvertedType::LIST || is_repeated(child);
    if is_named && !is_nested { repeated } else { child }
}

fn is_repeated(of: &Type) -> bool {
    let info = of.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// The types of a map's keys and values.
fn pair(of: &Type) -> Result<[&Type; 2], String> {
    match fields(of).first().map(|entry| fields(entry)) {
        Some([key, value]) => Ok([key, value]),
        _ => Err(format!("the map `{}` is of an unknown form", of.name())),
    }
}
