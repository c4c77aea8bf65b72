//! Several examples in one row, so that fewer tokens are padding. They do not see one another (`gazal_lm::TokenBatch`).
//! A departure from TRL: of rows with as much room the one that last got an example gets the next, there the first.

use std::collections::BTreeMap;

use gazal_stage_api::JsonSchema;
use gazal_train::Sequence;
use serde::{Deserialize, Serialize};

/// How examples are put into rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum PackingStrategy {
    /// Best fit, decreasing: the longest first, each into the fullest row that has room. Examples stay whole.
    #[default]
    Bfd,
    /// One after another and cut wherever a row is full: no room is left over, and examples are cut in two.
    Wrapped,
}

/// Rows of at most `length` tokens.
pub fn pack(examples: &[Sequence], length: usize, strategy: PackingStrategy) -> Vec<Sequence> {
    match strategy {
        PackingStrategy::Bfd => best_fit(examples, length),
        PackingStrategy::Wrapped => wrapped(examples, length),
    }
}

fn best_fit(examples: &[Sequence], length: usize) -> Vec<Sequence> {
    let mut order: Vec<&Sequence> = examples.iter().collect();
    order.sort_by_key(|example| std::cmp::Reverse(example.ids.len()));
    let mut rows: Vec<Vec<&Sequence>> = Vec::new();
    // Rows by the room that they have left.
    let mut room: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for example in order {
        let size = example.ids.len();
        let fullest = room.range_mut(size..).next().and_then(|(&left, rows)| Some((left, rows.pop()?)));
        let (left, row) = fullest.unwrap_or_else(|| {
            rows.push(Vec::new());
            (length.max(size), rows.len() - 1)
        });
        room.retain(|_, rows| !rows.is_empty());
        rows[row].push(example);
        room.entry(left - size).or_default().push(row);
    }
    rows.into_iter().map(Sequence::packed).collect()
}

fn wrapped(examples: &[Sequence], length: usize) -> Vec<Sequence> {
    let all = Sequence::packed(examples);
    let starts = (0..all.ids.len()).step_by(length);
    let parts = starts.map(|from| all.part(from, (from + length).min(all.ids.len())));
    parts.filter(|part| part.targets() > 0).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn examples(lengths: &[usize]) -> Vec<Sequence> {
        let example = |(index, &length): (usize, &usize)| Sequence::new(vec![index as u32; length], 1);
        lengths.iter().enumerate().map(example).collect()
    }

    #[test]
    fn best_fit_keeps_examples_whole_and_fills_the_fullest_row() {
        let rows = pack(&examples(&[3, 6, 5, 4, 2]), 10, PackingStrategy::Bfd);
        // 6 opens a row, 5 another, 4 fits the first, 3 the second, 2 the second.
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        assert_eq!(lengths, [10, 10]);
        assert_eq!(rows[0].ids, [[1; 6].as_slice(), &[3; 4]].concat());
        assert_eq!(rows.iter().map(Sequence::targets).sum::<usize>(), 20 - 5, "the first token of each is not learnt");
    }

    #[test]
    fn wrapping_leaves_no_room_and_loses_no_token() {
        let rows = pack(&examples(&[3, 6, 5, 4, 2]), 7, PackingStrategy::Wrapped);
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        assert_eq!(lengths, [7, 7, 6]);
        let ids: Vec<u32> = rows.iter().flat_map(|row| row.ids.clone()).collect();
        assert_eq!(ids, examples(&[3, 6, 5, 4, 2]).iter().flat_map(|row| row.ids.clone()).collect::<Vec<_>>());
        // Beginnings of examples and of rows; the second example is cut at 7, the third and fourth begin at 9 and 14.
        assert_eq!(rows.iter().map(Sequence::targets).sum::<usize>(), 20 - 6);
    }

    /// TRL 1.16's rows of examples with none, a few and more tokens than a row has. As in [`super::super::examples`] what
    /// is empty is left out and what is too long cut off before. Rows of `bfd` are compared by how long they are, which
    /// does not depend on which of several equal ones gets an example.
    #[test]
    fn packing_fixture_of_trl() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/vectors/packing.json");
        let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let lists = |value: &serde_json::Value| serde_json::from_value::<Vec<Vec<u32>>>(value.clone()).unwrap();
        let mut checked = 0;
        for case in file["cases"].as_array().unwrap() {
            let (length, wanted) = (case["seq_length"].as_u64().unwrap() as usize, lists(&case["out_input_ids"]));
            let given = lists(&case["input"]).into_iter().filter(|ids| !ids.is_empty());
            let examples: Vec<Sequence> = given.map(|ids| Sequence::new(ids, 1)).collect();
            let ids = |rows: &[Sequence]| rows.iter().map(|row| row.ids.clone()).collect::<Vec<_>>();
            match case["strategy"].as_str().unwrap() {
                "wrapped" => {
                    let rows = pack(&examples, length, PackingStrategy::Wrapped);
                    // A last row of one token has nothing to learn.
                    assert_eq!(ids(&rows), wanted.into_iter().filter(|row| row.len() > 1).collect::<Vec<_>>());
                }
                "bfd" => {
                    let examples: Vec<Sequence> = examples.into_iter().map(|example| example.cut(length)).collect();
                    let rows = pack(&examples, length, PackingStrategy::Bfd);
                    let lengths = |rows: Vec<Vec<u32>>| {
                        let mut lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
                        lengths.sort_unstable();
                        lengths
                    };
                    assert_eq!(lengths(ids(&rows)), lengths(wanted));
                    for example in examples.iter().map(|example| example.ids.as_slice()) {
                        let whole = |row: &&Sequence| row.ids.windows(example.len()).any(|part| part == example);
                        assert_eq!(rows.iter().filter(whole).count(), 1, "{example:?} is whole, and in one row");
                    }
                }
                _ => continue,
            }
            checked += 1;
        }
        assert_eq!(checked, 8);
    }
}
