//! Duplicates among rows of 200 words, in rows a second; a tenth of the rows are like one before.
//! `cargo bench -p gazal-data`; `RAYON_NUM_THREADS=1` for those of a core.

use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use gazal_data::Stream;
use gazal_data::curation::{Duplicates, ExactDuplicates, Near, NearDuplicates, PlacedRow, Step};
use serde_json::json;

const ROWS: u64 = 4096;

fn main() {
    divan::main();
}

fn rows() -> Vec<PlacedRow> {
    let (stream, path) = (Stream::new(0, "rows"), Arc::from(Path::new("rows.jsonl")));
    let text = |row: u64| {
        let of = if row % 10 == 9 { row - 9 } else { row };
        (0..200).map(|at| format!("{:05x}", stream.below(at, of, 50_000))).collect::<Vec<_>>().join(" ")
    };
    let row = |number| PlacedRow {
        number,
        path: Arc::clone(&path),
        line: number as usize,
        row: [("text".to_string(), json!(text(number)))].into_iter().collect(),
    };
    (1..=ROWS).map(row).collect()
}

fn bench<S: Step>(bencher: Bencher, step: impl Fn() -> S + Sync) {
    let rows = rows();
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(step)
        .bench_local_values(|mut step| step.keep_all(&rows).is_ok());
}

#[divan::bench]
fn exact(bencher: Bencher) {
    bench(bencher, || ExactDuplicates::new(Duplicates::default()));
}

#[divan::bench(args = [64, 128, 256])]
fn near(bencher: Bencher, num_perm: usize) {
    let near: Near = serde_json::from_value(json!({"columns": ["text"], "num_perm": num_perm}))
        .unwrap_or_else(|error| panic!("{error}"));
    bench(bencher, || NearDuplicates::new(near.clone()).unwrap_or_else(|error| panic!("{error}")));
}
