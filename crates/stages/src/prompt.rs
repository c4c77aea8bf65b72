//! How a question is put to a model that reasons.

use gazal_tasks::{Benchmark, Item};

/// The user's turn; the completion begins with `<think>`. An open question is asked as rows of open questions ask it:
/// with nothing behind it.
pub fn reasoning(item: &Item) -> String {
    let turn = Benchmark::named(&item.benchmark).map_or_else(|| item.user_turn(), |benchmark| benchmark.ask(item));
    if item.open { turn } else { format!("{turn}\n") }
}
