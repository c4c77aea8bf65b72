#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::index::Bands;
use super::signature::similarity;
use super::*;
use crate::Stream;

fn near(threshold: f64) -> Near {
    let near: Near = serde_json::from_value(json!({"columns": ["t"]})).unwrap();
    Near { threshold, ..near }
}

fn row(number: u64, text: &str) -> PlacedRow {
    let row = json!({"t": text}).as_object().unwrap().clone();
    PlacedRow { number, path: Arc::from(Path::new("rows.jsonl")), line: number as usize, row }
}

/// So many different words, of which the first come from one text and the others from another.
fn text(words: u64, of_first: u64) -> String {
    let word = |at: u64| format!("{}{at}", if at < of_first { "a" } else { "b" });
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

fn exact(hasher: &Hasher, one: &str, other: &str) -> f64 {
    let set = |text: &str| hasher.shingles(text).into_iter().collect::<HashSet<u32>>();
    let (one, other) = (set(one), set(other));
    one.intersection(&other).count() as f64 / one.union(&other).count() as f64
}

proptest! {
    /// Five deviations of the estimate, and five bytes more that agree by chance: they are few and rare, so their number has
    /// a longer tail. One pair in a million is beyond.
    #[test]
    fn the_estimate_is_near_the_jaccard_similarity(words in 10..400_u64, share in 0.0..1.0_f64, ngram in 1..6_usize) {
        let hasher = Hasher::new(Unit::Words, ngram, 256);
        let (one, other) = (text(words, words), text(words, (words as f64 * share) as u64));
        let wanted = exact(&hasher, &one, &other);
        let found = similarity(&hasher.signature(&one), &hasher.signature(&other));
        let agreeing = wanted + (1.0 - wanted) / 256.0;
        let deviation = (agreeing * (1.0 - agreeing) / 256.0).sqrt();
        prop_assert!((found - wanted).abs() < 5.0 * deviation + 5.0 / 256.0, "{found} for {wanted}");
    }
}

#[test]
fn the_estimate_has_no_bias_and_the_deviation_that_is_claimed() {
    let hasher = Hasher::new(Unit::Words, 1, 128);
    let stream = Stream::new(3, "words");
    let (mut sum, mut squares) = (0.0, 0.0);
    for pair in 0..400 {
        let words = |from: u64| (from..from + 90).map(|at| format!("w{:x}", stream.bits(pair, at))).collect::<Vec<_>>();
        // 80 of 100 words in common.
        let found = similarity(&hasher.signature(&words(0).join(" ")), &hasher.signature(&words(10).join(" ")));
        (sum, squares) = (sum + found, squares + (found - 0.8) * (found - 0.8));
    }
    let (mean, deviation) = (sum / 400.0, (squares / 400.0_f64).sqrt());
    assert!((mean - 0.8).abs() < 0.006, "mean {mean}");
    assert!((0.031..0.040).contains(&deviation), "deviation {deviation}");
}

#[test]
fn shingles_are_of_letters_and_digits_in_lower_case() {
    let words = Hasher::new(Unit::Words, 2, 16);
    assert_eq!(words.shingles("Fever, COUGH — fever!"), words.shingles("fever cough fever"));
    assert_eq!(words.shingles("a b c").len(), 2);
    assert_ne!(words.shingles("a b"), words.shingles("b a"));
    assert_eq!(words.shingles("Ärzte").len(), 1);
    assert_eq!(words.shingles("Ärzte"), words.shingles("ÄRZTE"));
    assert!(words.shingles(" — ").is_empty());
    let characters = Hasher::new(Unit::Characters, 2, 16);
    assert_eq!(characters.shingles("发烧，三天").len(), 3);
    assert_eq!(characters.shingles("a b"), characters.shingles("AB"));
}

#[test]
fn a_signature_is_the_same_on_every_processor_and_for_ever() {
    let signature = Hasher::new(Unit::Words, 2, 20).signature("the quick brown fox jumps over the lazy dog");
    assert_eq!(signature.len(), 20);
    assert_eq!(
        signature,
        Hasher::new(Unit::Words, 2, 128).signature("The quick brown fox jumps over the lazy dog.")[..20]
    );
    assert_eq!(blake3::hash(&signature).to_hex()[..16].to_string(), "81f623fd103551ea");
}

/// What `datasketch.lsh._optimal_param` returns for these, of cuts with three or more rows.
#[test]
fn bands_with_even_weights_are_those_of_datasketch() {
    let found = |threshold, permutations| bands(threshold, permutations, 0.5);
    for (threshold, permutations, count, length) in
        [(0.5, 128, 25, 5), (0.7, 128, 14, 9), (0.8, 128, 9, 13), (0.9, 128, 5, 25), (0.8, 256, 17, 15)]
    {
        assert_eq!(found(threshold, permutations), Bands { count, length }, "{threshold} of {permutations}");
    }
    let fewer_missed = bands(0.8, 128, 0.9);
    assert!(fewer_missed.count > 9 && fewer_missed.length < 13, "{fewer_missed:?}");
}

#[test]
fn the_first_of_similar_rows_stays_and_is_named() {
    let step = || NearDuplicates::new(Near { ngram: 1, ..near(0.7) }).unwrap();
    let texts = [text(100, 100), text(100, 0), text(100, 95), text(100, 90), text(100, 50), text(100, 4)];
    let rows: Vec<PlacedRow> = (1..).zip(&texts).map(|(number, text)| row(number, text)).collect();
    let mut one = step();
    let verdicts: Vec<Verdict> = rows.iter().map(|row| one.keep(row).unwrap()).collect();
    assert_eq!(step().keep_all(&rows).unwrap(), verdicts);
    let of = |verdict: &Verdict| match verdict {
        Verdict::Dropped(Reason::NearDuplicate { of, similarity }) if *similarity >= 0.7 => *of,
        Verdict::Kept => 0,
        other => panic!("{other:?}"),
    };
    // Half of the fifth are words of the first, half of the second.
    assert_eq!(verdicts.iter().map(of).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 2]);
}

#[test]
fn short_and_empty_texts_are_compared_as_a_whole() {
    let mut step = NearDuplicates::new(near(0.8)).unwrap();
    let mut keeps = |number, text: &str| step.keep(&row(number, text)).unwrap() == Verdict::Kept;
    assert!(keeps(1, "Vitamin K?") && keeps(2, "Vitamin C?") && !keeps(3, "vitamin k"));
    assert!(keeps(4, "") && !keeps(5, "—"));
}

#[test]
fn an_index_that_grows_forgets_nothing() {
    let mut step = NearDuplicates::new(Near { num_perm: 32, ..near(0.9) }).unwrap();
    let text = |number: u64| (0..30).map(|at| format!("w{number}x{at}")).collect::<Vec<_>>().join(" ");
    for number in 0..5000 {
        assert_eq!(step.keep(&row(number, &text(number))).unwrap(), Verdict::Kept, "{number}");
    }
    for number in (0..5000).step_by(37) {
        let verdict = step.keep(&row(99_999, &text(number))).unwrap();
        assert_eq!(verdict, Verdict::Dropped(Reason::NearDuplicate { of: number, similarity: 1.0 }));
    }
}

/// Rows of 60 words, of which every other one is a row before it with up to 20 of its words changed.
fn fixed(rows: u64) -> Vec<PlacedRow> {
    let stream = Stream::new(5, "fixed rows");
    let mut texts: Vec<Vec<u64>> = Vec::new();
    for row in 0..rows {
        let word = |at: u64| stream.below(at, row, 5000) as u64;
        let words = match row % 2 {
            0 => (0..60).map(word).collect(),
            _ => {
                let mut words = texts[stream.below(100, row, texts.len())].clone();
                for change in 0..stream.below(101, row, 21) as u64 {
                    words[stream.below(200 + change, row, 60)] = word(300 + change);
                }
                words
            }
        };
        texts.push(words);
    }
    let text = |words: &Vec<u64>| words.iter().map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ");
    (1..).zip(&texts).map(|(number, words)| row(number, &text(words))).collect()
}

/// As they were when every signature was held in memory.
#[test]
fn decisions_stay_as_they_were() {
    let rows = fixed(2500);
    for (near, dropped, digest) in [
        (Near { ngram: 1, ..near(0.5) }, 1034, "1277f7b7c5cdc1f2"),
        (Near { ngram: 1, ..near(0.8) }, 392, "3f15d0745409a0f9"),
        (Near { ngram: 2, num_perm: 200, ..near(0.7) }, 320, "d1252c89fa57271e"),
        (Near { num_perm: 64, ..near(0.95) }, 47, "74bda0d8f7bde68d"),
    ] {
        let verdicts = NearDuplicates::new(near).unwrap().keep_all(&rows).unwrap();
        let text: String = verdicts.iter().map(|verdict| format!("{verdict:?}\n")).collect();
        let found = verdicts.iter().filter(|verdict| **verdict != Verdict::Kept).count();
        assert_eq!((found, &blake3::hash(text.as_bytes()).to_hex()[..16]), (dropped, digest));
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = |near: Near| NearDuplicates::new(near).map(drop).unwrap_err().to_string();
    assert!(refused(near(0.2)).starts_with("`threshold`"));
    assert!(refused(near(f64::NAN)).starts_with("`threshold`"));
    assert!(refused(Near { num_perm: 8, ..near(0.8) }).starts_with("`num_perm`"));
    assert!(refused(Near { ngram: 0, ..near(0.8) }).starts_with("`ngram`"));
    assert!(refused(Near { columns: Vec::new(), ..near(0.8) }).starts_with("`columns`"));
    assert!(refused(Near { false_negative_weight: 2.0, ..near(0.8) }).starts_with("`false_negative_weight`"));
}
