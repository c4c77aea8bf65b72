#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{InferringWriter, Schema, Writer};
use crate::{DataError, Row, row_digest, rows};

fn object(value: &Value) -> Row {
    value.as_object().unwrap().clone()
}

struct Space(tempfile::TempDir);

impl Space {
    fn new() -> Space {
        Space(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("rows.parquet")
    }

    fn write(&self, rows: &[Value]) -> Result<usize, DataError> {
        let mut file = InferringWriter::create(&self.path())?;
        rows.iter().try_for_each(|row| file.write(&object(row)))?;
        file.finish()
    }

    /// The rows as they come back.
    fn back(&self, rows: &[Value]) -> Vec<Value> {
        assert_eq!(self.write(rows).unwrap(), rows.len());
        rows::read_all(&self.path()).unwrap()
    }

    fn refusal(&self, rows: &[Value]) -> String {
        self.write(rows).unwrap_err().to_string()
    }
}

/// What values of a column are, to make some.
#[derive(Clone, Debug)]
enum Of {
    Null,
    Boolean,
    Integer,
    Unsigned,
    Double,
    Text,
    List(Box<Of>),
    Object(Vec<(String, Of)>),
}

fn of() -> impl Strategy<Value = Of> {
    let leaf = prop_oneof![
        Just(Of::Null),
        Just(Of::Boolean),
        Just(Of::Integer),
        Just(Of::Unsigned),
        Just(Of::Double),
        Just(Of::Text)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![inner.clone().prop_map(|element| Of::List(Box::new(element))), fields(inner).prop_map(Of::Object),]
    })
}

/// At least one, so that it can be told from another.
fn fields(of: impl Strategy<Value = Of>) -> impl Strategy<Value = Vec<(String, Of)>> {
    let name = prop_oneof!["[a-c]", Just("list".to_string()), Just("array".to_string()), "\\PC{0,3}"];
    prop::collection::btree_map(name, of, 1..4).prop_map(|fields| fields.into_iter().collect())
}

/// A value with all keys, which is null at times.
fn value(of: Of) -> BoxedStrategy<Value> {
    let there = match of {
        Of::Null => return Just(Value::Null).boxed(),
        Of::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Of::Integer => any::<i64>().prop_map(Value::from).boxed(),
        Of::Unsigned => any::<u64>().prop_map(Value::from).boxed(),
        Of::Double => any::<f64>().prop_map(Value::from).boxed(),
        Of::Text => any::<String>().prop_map(Value::from).boxed(),
        Of::List(element) => prop::collection::vec(value(*element), 0..4).prop_map(Value::from).boxed(),
        Of::Object(fields) => whole(fields).prop_map(Value::Object).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => there].boxed()
}

fn whole(fields: Vec<(String, Of)>) -> BoxedStrategy<Row> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().map(|(name, of)| (name, value(of))).unzip();
    values.prop_map(move |values| names.iter().cloned().zip(values).collect()).boxed()
}

fn table() -> impl Strategy<Value = Vec<Row>> {
    fields(of()).prop_flat_map(|fields| prop::collection::vec(whole(fields), 0..12))
}

fn digests(rows: &[Value]) -> Vec<blake3::Hash> {
    rows.iter().map(row_digest).collect()
}

proptest! {
    #[test]
    fn rows_with_all_keys_come_back_and_keep_their_digests(rows in table()) {
        let rows: Vec<Value> = rows.into_iter().map(Value::Object).collect();
        let back = Space::new().back(&rows);
        prop_assert_eq!(digests(&back), digests(&rows), "{:?} of {:?}", &back, &rows);
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn keys_that_are_left_out_read_as_null(rows in table(), keep in prop::collection::vec(any::<bool>(), 50)) {
        let mut kept = keep.into_iter().cycle();
        let mut drop_some = |row: &Row| {
            let entries = row.iter().filter(|_| kept.next().unwrap());
            Value::Object(entries.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        let whole = rows.first().cloned().into_iter().map(Value::Object);
        let rows: Vec<Value> = whole.chain(rows.iter().skip(1).map(&mut drop_some)).collect();
        let back = Space::new().back(&rows);
        for (back, row) in back.iter().zip(&rows) {
            for (name, value) in back.as_object().unwrap() {
                prop_assert_eq!(value, row.get(name).unwrap_or(&Value::Null));
            }
            prop_assert!(row.as_object().unwrap().keys().all(|name| back.get(name).is_some()));
        }
    }
}

#[test]
fn numbers_of_a_column_widen_to_what_holds_them_all() {
    let numbers = |numbers: &[Value]| {
        let rows: Vec<Value> = numbers.iter().map(|number| json!({"x": number})).collect();
        let back = Space::new().back(&rows);
        back.iter().map(|row| row["x"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(numbers(&[json!(1), json!(null), json!(i64::MIN)]), "1 null -9223372036854775808");
    assert_eq!(numbers(&[json!(1), json!(u64::MAX)]), "1 18446744073709551615");
    assert_eq!(numbers(&[json!(1), json!(-0.5), json!(1_u64 << 63)]), "1.0 -0.5 9.223372036854776e+18");
}

#[test]
fn what_cannot_be_one_type_is_named_with_its_column_and_row() {
    let space = Space::new();
    let mixed = space.refusal(&[json!({"a": {"b": [{"c": 1}]}}), json!({"a": {"b": [{"c": null}, {"c": "x"}]}})]);
    assert!(mixed.ends_with("rows.parquet:2: the column `a.b[].c` is a text here and a number before"), "{mixed}");
    let wide = space.refusal(&[json!({"x": i64::MAX}), json!({"x": null}), json!({"x": 0.5})]);
    assert!(wide.contains("rows.parquet:3: the column `x` has numbers with a point and integers"), "{wide}");
    let apart = space.refusal(&[json!({"x": [[-1]]}), json!({"x": [[u64::MAX]]})]);
    assert!(apart.contains(":2: the column `x[][]` has integers below zero and above"), "{apart}");
    assert!(space.refusal(&[json!({"x": {}})]).contains(":1: the column `x` is an object without a key"));
    assert!(space.refusal(&[json!({})]).contains(":1: the row is an object without a key"));
    let many: Map<String, Value> = (0..10_001).map(|key| (key.to_string(), json!(1))).collect();
    assert!(space.refusal(&[json!({"x": many})]).contains("the column `x` comes to more than 10,000 keys"));
    assert!(InferringWriter::create(Path::new("none/rows.parquet")).unwrap_err().to_string().contains("none"));
}

#[test]
fn deep_values_come_back() {
    let deep = (0..60).fold(json!(1), |value, level| if level % 2 == 0 { json!([value]) } else { json!({"a": value}) });
    let rows = [json!({"x": deep}), json!({"x": null})];
    assert_eq!(Space::new().back(&rows), rows);
}

#[test]
fn no_rows_are_a_file_too() {
    assert!(Space::new().back(&[]).is_empty());
}

#[test]
fn columns_can_be_told_from_another_file() {
    let space = Space::new();
    let lines = space.0.path().join("rows.jsonl");
    std::fs::write(&lines, "{\"a\":1}\n\n{\"b\":[\"x\"]}\n").unwrap();
    let mut file = Writer::create(&space.path(), &Schema::of(&lines).unwrap()).unwrap();
    file.write(&object(&json!({"b": ["y", null], "a": -1}))).unwrap();
    for (row, message) in [
        (json!({"c": 1}), ":2: the column `c` is in none of the rows"),
        (json!({"a": 0.5}), ":3: the column `a` is a number here, where a signed integer is needed"),
        (json!({"b": [[]]}), ":4: the column `b[]` is a list here"),
        (json!({"b": "x"}), ":5: the column `b` is a text here"),
    ] {
        let error = file.write(&object(&row)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    std::fs::write(&lines, "{\"a\":1}\n\n{\"a\":true}\n").unwrap();
    let error = Schema::of(&lines).unwrap_err().to_string();
    assert!(error.contains("rows.jsonl:3: the column `a` is a boolean here and a number before"), "{error}");
}

#[test]
fn equal_rows_make_equal_bytes() {
    let bytes = || {
        let space = Space::new();
        space.write(&[json!({"a": [1, null], "b": {"c": "x"}}), json!({"a": null, "b": null})]).unwrap();
        std::fs::read(space.path()).unwrap()
    };
    assert!(bytes() == bytes());
}

#[test]
fn long_files_have_several_row_groups() {
    let row = |row: u64| json!({"id": row, "texts": [format!("{row} ").repeat(300_000), null], "of": {"row": row % 7}});
    let rows: Vec<Value> = (100..130).map(row).collect();
    let space = Space::new();
    assert!(space.back(&rows) == rows);
    let file = SerializedFileReader::new(std::fs::File::open(space.path()).unwrap()).unwrap();
    assert_eq!(file.num_row_groups(), 2);
}
