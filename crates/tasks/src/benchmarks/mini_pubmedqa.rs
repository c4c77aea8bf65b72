//! Abstracts of invented studies with a yes, no or maybe, made by this project and shaped as PubMedQA.

use super::{Benchmark, pubmedqa};
use crate::{Item, read_items};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mini_pubmedqa",
    title: "Mini abstracts (PubMedQA-shaped)",
    synthetic: true,
    files: &["mini_pubmedqa.jsonl"],
    read: read_items,
    ask: Item::user_turn,
    ..pubmedqa::BENCHMARK
};
