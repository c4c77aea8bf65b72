#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{jsonl, rows};

fn row(number: u64, value: Value) -> PlacedRow {
    let path = Arc::from(Path::new("data/train.jsonl"));
    let Value::Object(row) = value else { panic!("{value} is no row") };
    PlacedRow { number, path, line: number as usize, row }
}

/// The verdicts on rows that come one after the other, and the same in one batch.
fn judge(mut one: impl Step, mut all: impl Step, rows: impl IntoIterator<Item = Value>) -> Vec<Verdict> {
    let rows: Vec<PlacedRow> = (1..).zip(rows).map(|(number, value)| row(number, value)).collect();
    let verdicts: Vec<Verdict> = rows.iter().map(|row| one.keep(row).unwrap()).collect();
    assert_eq!(all.keep_all(&rows).unwrap(), verdicts);
    verdicts
}

fn filter(expression: &str) -> Result<Filter, DataError> {
    Filter::new(Expression { expression: expression.into() })
}

fn asked(expression: &str, value: Value) -> Result<Verdict, String> {
    filter(expression).unwrap().keep(&row(7, value)).map_err(|error| error.to_string())
}

#[test]
fn a_filter_keeps_what_its_expression_says() {
    let value = || {
        json!({"answer": "Aspirin — oui", "lang": "en", "score": "3.5", "n": 2, "none": null,
               "meta": {"source": "a", "tags": ["x", "y"]}})
    };
    for yes in [
        "row.answer | length > 10 and row.lang == \"en\"",
        "row.answer | length == 13",
        "row.score | float >= 3.5",
        "row.n + 1 == 3 and row.none is none",
        "row.meta.source in [\"a\", \"b\"] and \"y\" in row.meta.tags and row.meta.tags[-1] == \"y\"",
        "\"meta\" in row and \"date\" not in row and \"date\" not in row.meta",
        "row[\"lang\"].startswith(\"e\") and \"oui\" in row.answer",
        "row.meta.tags | length == 2 and row | length == 6 and row.meta.tags == [\"x\", \"y\"]",
        "\"date\" in row and row.date == 1 or row.n == 2",
    ] {
        assert_eq!(asked(yes, value()), Ok(Verdict::Kept), "{yes}");
        let no = format!("not ({yes})");
        assert_eq!(asked(&no, value()), Ok(Verdict::Dropped(Reason::False)), "{no}");
    }
    let rows = [json!({"n": 1}), json!({"n": 2})];
    let odd = || filter("row.n is odd").unwrap();
    assert_eq!(judge(odd(), odd(), rows), [Verdict::Kept, Verdict::Dropped(Reason::False)]);
}

#[test]
fn a_filter_that_cannot_be_answered_is_an_error_and_drops_nothing() {
    let error = |expression: &str| asked(expression, json!({"a": "x", "m": {"b": [1]}})).unwrap_err();
    let missing = error("row.lang == \"en\"");
    assert!(missing.starts_with("data/train.jsonl:7: "), "{missing}");
    assert!(
        missing.contains("there is no 'lang'") && missing.contains("in the filter `row.lang == \"en\"`"),
        "{missing}"
    );
    assert!(error("row.m.c == 1").contains("there is no 'c'"));
    assert!(error("row.m.b[1] == 1").contains("there is no 1"));
    assert!(error("row.lang in [\"en\"]").contains("there is no 'lang'"));
    assert!(error("row.lang is defined").contains("there is no 'lang'"));
    assert!(error("row.a").contains("the result is 'x', which is neither true nor false"));
    assert!(error("row.a | float > 1").contains("float"));
    let refused = |expression: &str| filter(expression).map(drop).unwrap_err().to_string();
    assert!(refused("row.a ==").starts_with("`expression`: syntax error"), "{}", refused("row.a =="));
    assert!(refused("lang == 1").contains("`lang` is not known, a column is written `row.lang`"));
}

#[test]
fn the_first_of_equal_rows_stays() {
    let rows = || {
        [
            json!({"q": "A  b", "a": 1}),
            json!({"a": 1, "q": "A  b"}),
            json!({"q": "a b ", "a": 1}),
            json!({"q": "ａ\u{a0}ﬁ", "a": 1}),
            json!({"q": "a fi", "a": 2}),
        ]
    };
    let step = |columns: &[&str], normalization: Normalization| {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        ExactDuplicates::new(Duplicates { columns, normalization })
    };
    let of = |columns: &[&str], normalization: Normalization| -> Vec<u64> {
        let verdicts = judge(step(columns, normalization), step(columns, normalization), rows());
        let first = verdicts.into_iter().map(|verdict| match verdict {
            Verdict::Dropped(Reason::Duplicate { of }) => of,
            _ => 0,
        });
        first.collect()
    };
    let all = Normalization { unicode: true, case: true, whitespace: true };
    assert_eq!(of(&[], Normalization::default()), [0, 1, 0, 0, 0]);
    assert_eq!(of(&[], all), [0, 1, 1, 0, 0]);
    assert_eq!(of(&["q"], all), [0, 1, 1, 0, 4]);
    assert_eq!(of(&["a"], Normalization::default()), [0, 1, 1, 1, 0]);
    assert_eq!(of(&["q"], Normalization { unicode: true, ..Normalization::default() }), [0, 1, 0, 0, 4]);
    let error = step(&["id"], all).keep(&row(3, json!({"q": ""}))).unwrap_err().to_string();
    assert_eq!(error, "data/train.jsonl:3: there is no column `id`; there are q");
}

/// More than a first table and a first block of the file hold.
#[test]
fn the_first_of_many_equal_rows_is_named() {
    let mut step = ExactDuplicates::new(Duplicates::default());
    let rows: Vec<PlacedRow> = (0..16_000_u64).map(|at| row(at + 1, json!({"n": at % 13_000}))).collect();
    let verdicts = step.keep_all(&rows).unwrap();
    for (at, verdict) in (0..).zip(verdicts) {
        match verdict {
            Verdict::Kept => assert!(at < 13_000, "{at}"),
            found => assert_eq!(found, Verdict::Dropped(Reason::Duplicate { of: at + 1 - 13_000 })),
        }
    }
}

#[test]
fn lengths_are_counted_in_characters_or_words() {
    let lengths = |unit, min, max| Lengths { columns: vec!["q".into(), "a".into()], unit, min, max };
    let step = |unit, min, max| Length::new(lengths(unit, min, max)).unwrap();
    let rows = || [json!({"q": "é", "a": "x y"}), json!({"q": "", "a": ""}), json!({"q": "a b", "a": ["c", "d e"]})];
    let judged = |unit, min, max| judge(step(unit, min, max), step(unit, min, max), rows());
    let (short, long) = (|has| Verdict::Dropped(Reason::Short { has }), |has| Verdict::Dropped(Reason::Long { has }));
    assert_eq!(judged(Measure::Characters, 5, Some(8)), [Verdict::Kept, short(0), long(9)]);
    assert_eq!(judged(Measure::Words, 3, Some(4)), [Verdict::Kept, short(0), long(5)]);
    assert_eq!(judged(Measure::Words, 4, None), [short(3), short(0), Verdict::Kept]);
    assert!(Length::new(lengths(Measure::Words, 2, Some(1))).is_err());
    let error = step(Measure::Words, 0, None).keep(&row(1, json!({"q": "", "a": null}))).unwrap_err().to_string();
    assert!(error.ends_with("the column `a` is null and no text"), "{error}");
}

#[test]
fn languages_are_told() {
    let languages = |codes: &[&str], min_confidence| {
        let languages = codes.iter().map(ToString::to_string).collect();
        Language::new(Languages { columns: vec!["t".into()], languages, min_confidence })
    };
    let rows = || {
        [
            json!({"t": "The patient has had a fever and a dry cough for three days."}),
            json!({"t": "Der Patient hat seit drei Tagen Fieber und einen trockenen Husten."}),
            json!({"t": "病人发烧三天，咳嗽。"}),
            json!({"t": "12 34 !"}),
        ]
    };
    let step = || languages(&["eng", "cmn"], 0.0).unwrap();
    let verdicts = judge(step(), step(), rows());
    assert_eq!([&verdicts[0], &verdicts[2]], [&Verdict::Kept; 2]);
    assert!(matches!(&verdicts[1], Verdict::Dropped(Reason::Language { language, .. }) if language == "deu"));
    assert_eq!(verdicts[3], Verdict::Dropped(Reason::NoLanguage { confidence: 0.0 }));
    let unsure = languages(&["eng"], 1.0).unwrap().keep(&row(1, json!({"t": "no idea"}))).unwrap();
    assert!(matches!(unsure, Verdict::Dropped(Reason::NoLanguage { .. })), "{unsure:?}");
    let error = languages(&["en"], 0.0).map(drop).unwrap_err().to_string();
    assert!(error.contains("`en` is not known; known are") && error.contains("eng"), "{error}");
}

fn parts(shares: &[(&str, f64)], group: &[&str]) -> Parts {
    let parts = shares.iter().map(|(name, share)| Part { name: name.to_string(), share: *share }).collect();
    Parts { parts, group: group.iter().map(ToString::to_string).collect() }
}

#[test]
fn a_split_keeps_groups_together_and_meets_its_shares() {
    let split = Split::new(parts(&[("train", 0.8), ("validation", 0.1), ("test", 0.1)], &["g"]), 1).unwrap();
    let mut counts = [0; 3];
    for group in 0..3000 {
        let part = |text: &str| split.part(&row(1, json!({"g": group, "t": text}))).unwrap();
        assert_eq!(part("a"), part("b"));
        counts[part("a")] += 1;
    }
    // Three deviations of 3000 draws.
    assert!((2334..2466).contains(&counts[0]) && (250..350).contains(&counts[1]), "{counts:?}");
    assert_eq!(split.name(2), Some("test"));
    let error = split.part(&row(1, json!({"t": ""}))).unwrap_err().to_string();
    assert!(error.contains("there is no column `g`"), "{error}");
    let refused = |shares: &[(&str, f64)]| Split::new(parts(shares, &[]), 1).map(drop).unwrap_err().to_string();
    assert!(refused(&[("a", 0.5), ("b", 0.4)]).contains("sum to 0.9"));
    assert!(refused(&[("a", 0.5), ("a", 0.5)]).contains("two parts are called `a`"));
    assert!(refused(&[("a", 1.5), ("b", -0.5)]).contains("share of `a`"));
}

proptest! {
    /// A row's part depends on its group alone, and a part that grows at its end takes rows and gives none away.
    #[test]
    fn a_split_is_stable(groups in prop::collection::vec(".{0,8}", 1..40), share in 0.05..0.9_f64, seed: u64) {
        let of = |share: f64| Split::new(parts(&[("test", share), ("train", 1.0 - share)], &["g"]), seed).unwrap();
        let (small, large) = (of(share), of(share + 0.05));
        let alone: Vec<usize> = groups.iter().map(|g| small.part(&row(1, json!({"g": g}))).unwrap()).collect();
        for (at, g) in groups.iter().enumerate() {
            let again = row(at as u64 + 9, json!({"other": at, "g": g}));
            prop_assert_eq!(small.part(&again).unwrap(), alone[at]);
            prop_assert!(large.part(&again).unwrap() <= alone[at]);
        }
    }

    /// A mixture has the shares of its weights to one row, and no row twice before all others of its data set came.
    #[test]
    fn a_mixture_has_the_wanted_shares(
        sets in prop::collection::vec((1..40_u64, 0.1..9.0_f64), 1..5), total in 1..300_u64, seed: u64,
    ) {
        let (rows, weights): (Vec<u64>, Vec<f64>) = sets.into_iter().unzip();
        let mixture = Mixture { weights: weights.clone(), amount: Amount::Rows(total) };
        let mix = Mix::new(&mixture, &rows, seed).unwrap();
        let wanted = mix.wanted();
        let picks: Vec<Pick> = mix.collect();
        prop_assert_eq!(picks.len() as u64, total);
        let sum: f64 = weights.iter().sum();
        for (source, &rows) in rows.iter().enumerate() {
            let taken: Vec<(u64, u64)> =
                picks.iter().filter(|pick| pick.source == source).map(|pick| (pick.epoch, pick.row)).collect();
            prop_assert_eq!(taken.len() as u64, wanted[source]);
            prop_assert!((taken.len() as f64 - weights[source] / sum * total as f64).abs() < 1.0);
            prop_assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(taken.iter().enumerate().all(|(at, (epoch, row))| *epoch == at as u64 / rows && *row < rows));
        }
        let again: Vec<Pick> = Mix::new(&mixture, &rows, seed).unwrap().collect();
        prop_assert_eq!(again, picks);
    }
}

#[test]
fn a_mixture_in_epochs_ends_with_the_data_set_that_is_through_first() {
    let mix = |epochs, seed| {
        let mixture = Mixture { weights: vec![3.0, 1.0], amount: Amount::Epochs(epochs) };
        Mix::new(&mixture, &[30, 100], seed).unwrap()
    };
    assert_eq!(mix(1.0, 0).wanted(), [30, 10]);
    assert_eq!(mix(2.5, 0).wanted(), [75, 25]);
    // The sample of the larger data set is spread over it, and another one with another seed.
    let sample = |seed| mix(1.0, seed).filter(|pick| pick.source == 1).map(|pick| pick.row).collect::<Vec<_>>();
    assert!(sample(0).iter().any(|row| *row >= 50) && sample(0) != sample(1));
    let refused = |weights: &[f64], rows: &[u64], amount| {
        Mix::new(&Mixture { weights: weights.to_vec(), amount }, rows, 0).map(drop).unwrap_err().to_string()
    };
    assert!(refused(&[1.0], &[1, 2], Amount::Rows(1)).contains("1 weights for 2 data sets"));
    assert!(refused(&[1.0, 0.0], &[1, 2], Amount::Rows(1)).contains("above 0"));
    assert!(refused(&[1.0, 1.0], &[1, 0], Amount::Rows(1)).contains("data set 2 has no rows"));
    assert!(refused(&[1.0], &[1], Amount::Epochs(0.5)).contains("comes to 0 rows"));
    assert!(refused(&[1.0, 2.0], &[1, 1], Amount::Rows(u64::MAX)).contains("between 1 and 2^53"));
    assert!(refused(&[1.0], &[1], Amount::Epochs(f64::NAN)).contains("between 1 and 2^53"));
}

/// A folder with files of rows `{"id": …}`.
fn folder(files: &[(&str, std::ops::Range<u64>)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, ids): &(&str, std::ops::Range<u64>)| {
        let path = folder.path().join(name);
        let mut file = rows::Writer::create(&path).unwrap();
        ids.clone().for_each(|id| file.write(json!({"id": id.to_string()}).as_object().unwrap()).unwrap());
        file.finish().unwrap();
        path
    };
    let paths = files.iter().map(write).collect();
    (folder, paths)
}

fn ids(rows: impl IntoIterator<Item = Result<PlacedRow, DataError>>) -> Vec<u64> {
    rows.into_iter().map(|row| row.unwrap().row["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_mixture_reads_its_rows_as_often_as_it_needs_them() {
    let (_folder, paths) = folder(&[("a.jsonl", 0..3), ("b.csv", 3..5), ("c.jsonl", 10..30)]);
    let sets = vec![paths[..2].to_vec(), paths[2..].to_vec()];
    let counts: Vec<u64> = sets.iter().map(|set| set.iter().map(|path| rows::count(path).unwrap()).sum()).collect();
    assert_eq!(counts, [5, 20]);
    let mixture = Mixture { weights: vec![1.0, 1.0], amount: Amount::Rows(24) };
    let read = ids(mixed(sets.clone(), Mix::new(&mixture, &counts, 5).unwrap()));
    let (small, large): (Vec<u64>, Vec<u64>) = read.iter().partition(|id| **id < 10);
    assert_eq!((small.len(), large.len()), (12, 12));
    assert_eq!(small[..10], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    assert!(large.windows(2).all(|pair| pair[0] < pair[1]));
    let numbers = mixed(sets.clone(), Mix::new(&mixture, &counts, 5).unwrap()).map(|row| row.unwrap().number);
    assert!(numbers.eq(1..=24));
    let many = Mix::new(&mixture, &[9, 20], 5).unwrap();
    let error = mixed(sets, many).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("data set 1 has fewer rows than were counted"), "{error}");
}

#[test]
fn sources_number_rows_over_files() {
    let (_folder, paths) = folder(&[("a.jsonl", 0..2), ("b.jsonl", 0..0), ("c.csv", 2..5)]);
    let mut sources = Sources::new(paths.clone());
    assert_eq!(sources.place(1), None);
    let rows: Vec<PlacedRow> = sources.by_ref().map(Result::unwrap).collect();
    let places: Vec<(u64, usize)> = rows.iter().map(|row| (row.number, row.line)).collect();
    assert_eq!(places, [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4)]);
    assert_eq!(sources.place(2), Some((paths[0].as_path(), 2)));
    assert_eq!(sources.place(3), Some((paths[2].as_path(), 1)));
    assert_eq!(sources.place(6), None);
    std::fs::write(&paths[0], "{\"id\": 1}\n{").unwrap();
    let mut broken = Sources::new(paths);
    assert!(broken.next().unwrap().is_ok() && broken.next().unwrap().is_err() && broken.next().is_none());
}

#[test]
fn a_shuffle_has_every_row_once_in_an_order_of_the_seed() {
    let (folder, mut paths) = folder(&[("a.jsonl", 0..50), ("b.jsonl", 50..80)]);
    let path = folder.path().join("blank.jsonl");
    std::fs::write(&path, "\u{feff}{\"id\": \"80\"}\r\n\n {\"id\": \"81\"}").unwrap();
    paths.push(path);
    let order = |seed| ids(shuffle(&paths, seed).unwrap());
    let mut first = order(1);
    assert_eq!(first, order(1));
    assert_ne!(first, order(2));
    first.sort_unstable();
    assert_eq!(first, (0..82).collect::<Vec<_>>());
    let last = shuffle(&paths, 1).unwrap().map(Result::unwrap).find(|row| row.row["id"] == "81").unwrap();
    assert_eq!((last.path.file_name().unwrap().to_str(), last.line), (Some("blank.jsonl"), 2));
    let error = shuffle(&[folder.path().join("x.csv")], 1).map(drop).unwrap_err().to_string();
    assert!(error.contains("x.csv") && error.contains("`.jsonl`"), "{error}");
}

/// A step of one's own.
struct Leaks(&'static str);

impl Step for Leaks {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let text = row.text(&["t".to_string()])?;
        let reason = || Reason::Other { name: "leak".into(), detail: self.0.into() };
        Ok(Verdict::kept_or(!text.contains(self.0), reason))
    }
}

#[test]
fn a_chain_passes_rows_on_and_reports_what_it_dropped() {
    let (folder, long) = (tempfile::tempdir().unwrap(), "é".repeat(400));
    let path = folder.path().join("train.jsonl");
    let texts = ["one", "", "two", "one", "secret", &long, "one", "one", "one", "last"];
    jsonl::write_all(&path, texts.map(|t| json!({"t": t, "n": [t]}))).unwrap();
    let lengths = Lengths { columns: vec!["t".into()], unit: Measure::Characters, min: 1, max: Some(9) };
    let mut chain = Chain::new()
        .then("length", Length::new(lengths).unwrap())
        .then("duplicates", ExactDuplicates::new(Duplicates::default()))
        .then("decontaminate", Leaks("secret"));
    let mut kept = Vec::new();
    let keep = |row: PlacedRow| {
        kept.push((row.number, row.row["t"].as_str().unwrap().to_string()));
        Ok::<_, DataError>(())
    };
    chain.run(Sources::new([path]), keep).unwrap();
    assert_eq!(kept, [(1, "one".to_string()), (3, "two".to_string()), (10, "last".to_string())]);
    let [lengths, duplicates, leaks] = &chain.reports()[..] else { panic!("three steps") };
    assert_eq!((lengths.rows, lengths.kept, duplicates.rows, duplicates.kept), (10, 8, 8, 4));
    assert_eq!((leaks.kept, leaks.dropped["leak"].rows), (3, 1));
    let doubles = &duplicates.dropped["duplicate"];
    assert_eq!((doubles.rows, doubles.examples.len()), (4, StepReport::EXAMPLES));
    let cut = &lengths.dropped["long"].examples[0];
    assert_eq!((cut.number, cut.file.as_str(), cut.line), (6, "train.jsonl", 6));
    assert_eq!(cut.row["t"].as_str().unwrap().chars().count(), Example::CHARACTERS + 1);
    assert_eq!(cut.row["n"][0], cut.row["t"]);
    let json = serde_json::to_value(duplicates).unwrap();
    assert_eq!(json["dropped"]["duplicate"]["examples"][0]["reason"], "duplicate");
    assert_eq!(json["dropped"]["duplicate"]["examples"][0]["of"], 1);
    assert_eq!(&serde_json::from_value::<StepReport>(json).unwrap(), duplicates);
}

#[test]
fn batches_do_not_change_what_a_chain_keeps() {
    let texts: Vec<String> = (0..3000).map(|n| format!("row {}", n * n % 2777)).collect();
    let rows = || (1..).zip(&texts).map(|(number, text)| Ok(row(number, json!({"t": text}))));
    let mut whole = Chain::new().then("duplicates", ExactDuplicates::new(Duplicates::default()));
    let mut kept = Vec::new();
    let keep = |row: PlacedRow| {
        kept.push(row.number);
        Ok::<_, DataError>(())
    };
    whole.run(rows(), keep).unwrap();
    let mut step = ExactDuplicates::new(Duplicates::default());
    let wanted = rows().map(Result::unwrap).filter(|row| step.keep(row).unwrap() == Verdict::Kept);
    assert_eq!(kept, wanted.map(|row| row.number).collect::<Vec<_>>());
}

#[test]
fn parameters_refuse_what_they_do_not_know() {
    assert!(serde_json::from_value::<Duplicates>(json!({"column": []})).is_err());
    assert!(serde_json::from_value::<Near>(json!({"columns": ["t"], "treshold": 0.9})).is_err());
    assert!(serde_json::from_value::<Lengths>(json!({"columns": ["t"], "unit": "tokens"})).is_err());
    let near: Near = serde_json::from_value(json!({"columns": ["t"]})).unwrap();
    assert_eq!((near.threshold, near.num_perm, near.ngram, near.unit), (0.8, 128, 5, Unit::Words));
    let amount: Amount = serde_json::from_value(json!({"epochs": 2})).unwrap();
    assert_eq!(amount, Amount::Epochs(2.0));
}
