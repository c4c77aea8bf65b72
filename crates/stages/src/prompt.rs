//! How a question is put to a model that reasons.

use gazal_tasks::{Benchmark, Item};

/// The user's turn; the completion begins with `<think>`.
pub fn reasoning(item: &Item) -> String {
    let turn = Benchmark::named(&item.benchmark).map_or_else(|| item.user_turn(), |benchmark| benchmark.ask(item));
    format!("{turn}\n")
}
