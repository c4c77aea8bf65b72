#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    Int96, Int96Type,
};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{DataError, Row, rows, rows_digest};

/// One column of one row group: values, definition levels, repetition levels.
struct Column<T: DataType>(Vec<T::T>, Vec<i16>, Vec<i16>);

/// A column that is optional and neither repeated nor in a struct.
fn flat<T: DataType>(cells: &[Option<T::T>]) -> Column<T> {
    let levels = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    Column(cells.iter().flatten().cloned().collect(), levels, vec![0; cells.len()])
}

impl<T: DataType> Column<T> {
    fn write(&self, group: &mut SerializedRowGroupWriter<'_, fs::File>) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(&self.0, Some(&self.1), Some(&self.2)).unwrap();
        column.close().unwrap();
    }
}

struct Space(TempDir);

impl Space {
    fn new() -> Space {
        Space(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn create(&self, schema: &str, properties: WriterProperties) -> SerializedFileWriter<fs::File> {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = fs::File::create(self.path("rows.parquet")).unwrap();
        SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap()
    }

    /// A file with one row group.
    fn write(&self, schema: &str, fill: &dyn Fn(&mut SerializedRowGroupWriter<'_, fs::File>)) -> PathBuf {
        let mut file = self.create(schema, WriterProperties::new());
        let mut group = file.next_row_group().unwrap();
        fill(&mut group);
        group.close().unwrap();
        file.close().unwrap();
        self.path("rows.parquet")
    }
}

fn read(path: &Path) -> Result<Vec<Value>, DataError> {
    rows::read_all(path)
}

fn texts(texts: &[Option<&str>]) -> Column<ByteArrayType> {
    flat(&texts.iter().map(|text| text.map(ByteArray::from)).collect::<Vec<_>>())
}

#[test]
fn every_type_has_its_json() {
    let schema = "message rows {
        optional boolean flag; optional int32 tiny (INTEGER(8,true)); optional int32 whole; optional int64 wide;
        optional int64 unsigned (INTEGER(64,false)); optional float single; optional double double;
        optional binary text (STRING); optional binary raw; optional fixed_len_byte_array(3) fixed;
        optional int32 price (DECIMAL(9,2)); optional int32 day (DATE);
        optional int64 micros (TIMESTAMP(MICROS,true)); optional int64 local (TIMESTAMP(MILLIS,false));
        optional int64 nanos (TIMESTAMP(NANOS,true)); optional int32 clock (TIME(MILLIS,true));
        optional int64 fine (TIME(NANOS,true));
    }";
    let moment = 1_763_717_585_000_i64;
    let space = Space::new();
    let path = space.write(schema, &|group| {
        flat::<BoolType>(&[Some(true), None]).write(group);
        flat::<Int32Type>(&[Some(-7), None]).write(group);
        flat::<Int32Type>(&[Some(i32::MIN), None]).write(group);
        flat::<Int64Type>(&[Some(i64::MAX), None]).write(group);
        flat::<Int64Type>(&[Some(-1), None]).write(group);
        flat::<FloatType>(&[Some(0.5), None]).write(group);
        flat::<DoubleType>(&[Some(1.0), None]).write(group);
        texts(&[Some("é\n\"𝄞"), None]).write(group);
        flat::<ByteArrayType>(&[Some(ByteArray::from(vec![0, 255])), None]).write(group);
        flat::<FixedLenByteArrayType>(&[Some(ByteArray::from(vec![1, 2, 3]).into()), None]).write(group);
        flat::<Int32Type>(&[Some(-1230), None]).write(group);
        flat::<Int32Type>(&[Some(-1), None]).write(group);
        flat::<Int64Type>(&[Some(moment * 1000 + 5), None]).write(group);
        flat::<Int64Type>(&[Some(moment + 250), None]).write(group);
        flat::<Int64Type>(&[Some(moment * 1_000_000), None]).write(group);
        flat::<Int32Type>(&[Some(34_385_000), None]).write(group);
        flat::<Int64Type>(&[Some(1), None]).write(group);
    });
    let rows = read(&path).unwrap();
    let full = json!({
        "flag": true, "tiny": -7, "whole": i32::MIN, "wide": i64::MAX, "unsigned": u64::MAX, "single": 0.5,
        "double": 1.0, "text": "é\n\"𝄞", "raw": "AP8=", "fixed": "AQID", "price": "-12.30", "day": "1969-12-31",
        "micros": "2025-11-21T09:33:05.000005Z", "local": "2025-11-21T09:33:05.250", "nanos": "2025-11-21T09:33:05Z",
        "clock": "09:33:05", "fine": "00:00:00.000000001",
    });
    let nulls: Row = full.as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    assert_eq!(rows, [full, Value::Object(nulls)]);
    assert_eq!(rows[0]["double"].to_string(), "1.0", "a float stays one");
}

#[test]
fn what_is_no_number_is_told_apart() {
    let space = Space::new();
    let path = space.write("message rows { optional double x; }", &|group| {
        flat::<DoubleType>(&[Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(-0.0), None])
            .write(group);
    });
    let cells: Vec<Value> = read(&path).unwrap().into_iter().map(|row| row["x"].clone()).collect();
    assert_eq!(cells, [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(-0.0), Value::Null]);
}

#[test]
fn lists_structs_and_maps_keep_their_shape() {
    let schema = "message rows {
        optional group tags (LIST) { repeated group list { optional binary element (STRING); } }
        optional group turns (LIST) { repeated group list { optional group element {
            optional binary role (STRING); optional int64 at (TIMESTAMP(NANOS,true)); } } }
        optional group scores (MAP) { repeated group key_value {
            required binary key (STRING); optional int32 value; } }
        repeated int32 legacy;
    }";
    let space = Space::new();
    let text = |text: &str| ByteArray::from(text);
    let path = space.write(schema, &|group| {
        // Rows: full, null, empty, with a null within.
        let (levels, turns) = ([3, 3, 0, 1, 2, 3], [4, 4, 0, 1, 2, 3]);
        let repeated = vec![0, 1, 0, 0, 0, 1];
        Column::<ByteArrayType>(vec![text("a"), text("b"), text("c")], levels.to_vec(), repeated.clone()).write(group);
        Column::<ByteArrayType>(vec![text("user"), text("tool")], turns.to_vec(), repeated.clone()).write(group);
        Column::<Int64Type>(vec![1_000_000_000, 2_000_000_000], turns.to_vec(), repeated.clone()).write(group);
        let keys = ["x", "y", "z", "w"].map(text).to_vec();
        Column::<ByteArrayType>(keys, vec![2, 2, 0, 1, 2, 2], repeated.clone()).write(group);
        Column::<Int32Type>(vec![1, 2, 4], vec![3, 3, 0, 1, 2, 3], repeated).write(group);
        Column::<Int32Type>(vec![1, 2], vec![1, 1, 0, 0, 0], vec![0, 1, 0, 0, 0]).write(group);
    });
    let turn = |role: &str, at: u32| json!({"role": role, "at": format!("1970-01-01T00:00:0{at}Z")});
    let expected = [
        json!({"tags": ["a", "b"], "turns": [turn("user", 1), turn("tool", 2)],
            "scores": [{"key": "x", "value": 1}, {"key": "y", "value": 2}], "legacy": [1, 2]}),
        json!({"tags": null, "turns": null, "scores": null, "legacy": []}),
        json!({"tags": [], "turns": [], "scores": [], "legacy": []}),
        json!({"tags": [null, "c"], "turns": [null, {"role": null, "at": null}],
            "scores": [{"key": "z", "value": null}, {"key": "w", "value": 4}], "legacy": []}),
    ];
    for (row, expected) in read(&path).unwrap().iter().zip(&expected) {
        assert_eq!(row, expected);
    }
}

const TABLE: &str = "message rows { optional int64 id; optional binary text (STRING); optional double rate; }";

/// Rows of the table in this layout: so many rows a group.
fn table(space: &Space, per_group: usize, properties: WriterPropertiesBuilder, rows: &[Value]) -> PathBuf {
    let mut file = space.create(TABLE, properties.build());
    for rows in rows.chunks(per_group) {
        let mut group = file.next_row_group().unwrap();
        flat::<Int64Type>(&rows.iter().map(|row| row["id"].as_i64()).collect::<Vec<_>>()).write(&mut group);
        texts(&rows.iter().map(|row| row["text"].as_str()).collect::<Vec<_>>()).write(&mut group);
        flat::<DoubleType>(&rows.iter().map(|row| row["rate"].as_f64()).collect::<Vec<_>>()).write(&mut group);
        group.close().unwrap();
    }
    file.close().unwrap();
    space.path("rows.parquet")
}

fn some_rows() -> Vec<Value> {
    let text = |i: usize| if i.is_multiple_of(5) { Value::Null } else { json!(format!("text {}", i % 7)) };
    (0..3000).map(|i| json!({"id": i, "text": text(i), "rate": i as f64 / 8.0})).collect()
}

#[test]
fn layouts_do_not_matter() {
    let (space, rows) = (Space::new(), some_rows());
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    for per_group in [1000, 1001, 3000] {
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
            for (dictionary, version) in [(true, WriterVersion::PARQUET_1_0), (false, WriterVersion::PARQUET_2_0)] {
                let layout = WriterProperties::builder()
                    .set_compression(compression)
                    .set_dictionary_enabled(dictionary)
                    .set_writer_version(version)
                    .set_data_page_row_count_limit(128)
                    .set_write_batch_size(64);
                let path = table(&space, per_group, layout, &rows);
                let what = format!("{per_group} {compression:?} {dictionary} {version:?}");
                assert!(read(&path).unwrap() == rows, "{what}");
            }
        }
    }
}

#[test]
fn cells_and_the_order_of_rows_do() {
    let (space, rows) = (Space::new(), some_rows());
    let digest = |rows: &[Value]| rows_digest(&read(&table(&space, 1000, WriterProperties::builder(), rows)).unwrap());
    let base = digest(&rows);
    assert_eq!(base, rows_digest(&rows), "the digest of JSON Lines");
    for change in [
        |rows: &mut Vec<Value>| rows[1500]["rate"] = json!(0.125),
        |rows: &mut Vec<Value>| rows[0]["text"] = json!(""),
        |rows: &mut Vec<Value>| rows.swap(10, 2010),
        |rows: &mut Vec<Value>| drop(rows.pop()),
    ] {
        let mut changed = rows.clone();
        change(&mut changed);
        assert_ne!(digest(&changed), base);
    }
}

#[test]
fn a_file_cut_short_is_an_error_that_names_it() {
    let space = Space::new();
    let path = table(&space, 1000, WriterProperties::builder(), &some_rows());
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 50) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("rows.parquet"), "{error}");
    }
    let error = read(&space.path("none.parquet")).unwrap_err().to_string();
    assert!(error.contains("none.parquet"), "{error}");
}

/// Bytes without a checksum are what they are: other rows, or an error, but nothing that ends the program.
#[test]
fn an_altered_file_never_brings_the_program_down() {
    let (space, rows) = (Space::new(), some_rows());
    let path = table(&space, 1000, WriterProperties::builder().set_compression(Compression::SNAPPY), &rows);
    let whole = fs::read(&path).unwrap();
    let mut errors = 0;
    for at in (0..whole.len()).step_by(whole.len() / 400) {
        let mut altered = whole.clone();
        altered[at] ^= 1 << (at % 8);
        fs::write(&path, &altered).unwrap();
        if let Err(error) = read(&path) {
            assert!(error.to_string().contains("rows.parquet"), "{error}");
            errors += 1;
        }
    }
    assert!((20..380).contains(&errors), "{errors} of 400: neither is all of it checked, nor nothing");
}

#[test]
fn what_would_lose_something_is_refused() {
    let space = Space::new();
    let path = space.write("message rows { optional int96 at; }", &|group| {
        flat::<Int96Type>(&[Some(Int96::new())]).write(group);
    });
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("`at`") && error.contains("INT96") && error.contains("microseconds"), "{error}");
}

#[test]
fn a_row_of_another_shape_is_named_by_its_number() {
    #[derive(Debug, serde::Deserialize)]
    struct Text {
        text: String,
    }
    let space = Space::new();
    let path = table(&space, 10, WriterProperties::builder(), &some_rows()[3..7]);
    let mut rows = rows::read::<Text>(&path).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().text, "text 3");
    assert_eq!(rows.next().unwrap().unwrap().text, "text 4");
    let error = rows.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("rows.parquet:3: "), "{error}");
    assert_eq!(rows.line(), 3);
}
