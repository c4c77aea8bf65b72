//! Open questions made by this project, in the layout of items: beside the reference they know other answers that are
//! wrong.

use super::{Benchmark, medical_o1};
use crate::read_items;

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mini_medical_o1_verifiable",
    title: "Mini open questions (medical-o1-shaped)",
    synthetic: true,
    files: &["mini_medical_o1_verifiable.jsonl"],
    read: read_items,
    ..medical_o1::BENCHMARK
};
