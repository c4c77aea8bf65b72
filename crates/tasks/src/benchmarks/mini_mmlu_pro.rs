//! Questions with ten options, made by this project and shaped as MMLU-Pro.

use super::{Benchmark, mmlu_pro, worded};
use crate::{Item, read_items};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mini_mmlu_pro",
    title: "Mini ten options (MMLU-Pro-shaped)",
    synthetic: true,
    files: &["mini_mmlu_pro.jsonl"],
    read: read_items,
    prompt: |item| worded(item, mmlu_pro::prompt(item)),
    ask: Item::user_turn,
    ..mmlu_pro::BENCHMARK
};
