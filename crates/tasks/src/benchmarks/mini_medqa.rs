//! Vignettes with four options, made by this project and shaped as MedQA; no question of MedQA is in it.

use super::{Benchmark, medqa, worded};
use crate::{Item, read_items};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mini_medqa",
    title: "Mini vignettes (MedQA-shaped)",
    synthetic: true,
    files: &["mini_medqa.jsonl"],
    read: read_items,
    prompt: |item| worded(item, medqa::prompt(item)),
    ask: Item::user_turn,
    ..medqa::BENCHMARK
};
