//! Vocabularies of models with different tokenizers.

use serde_json::{Value, json};

use crate::*;

/// A BPE tokenizer of single letters, the words that merges make of them, and added tokens after them.
fn bpe(letters: &str, merges: &[(&str, &str)], added: &[&str]) -> Value {
    let words = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let all: Vec<String> = letters.chars().map(String::from).chain(words).collect();
    let vocabulary: serde_json::Map<String, Value> =
        all.iter().cloned().zip((0..).map(|id: usize| json!(id))).collect();
    let entry = |(at, content): (usize, &&str)| {
        json!({"id": all.len() + at, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.iter().enumerate().map(entry).collect::<Value>(),
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges.iter().map(|(left, right)| format!("{left} {right}")).collect::<Value>()},
    })
}

fn pair() -> [Value; 2] {
    // a b c ab <end>, and c d b cd cdb <end> <think>
    let first = bpe("abc", &[("a", "b")], &["<end>"]);
    [first, bpe("cdb", &[("c", "d"), ("cd", "b")], &["<end>", "<think>"])]
}

fn united(tokenizers: &[Value; 2]) -> Result<Vocabulary, MergeError> {
    let member = |model, tokenizer, rows| Member { model, tokenizer, rows };
    Vocabulary::new(
        &TokenizerSource::Union,
        "one",
        &[member("one", &tokenizers[0], 5), member("two", &tokenizers[1], 9)],
    )
}

#[test]
fn a_union_keeps_the_bases_numbers_and_appends_the_others() {
    let vocabulary = united(&pair()).unwrap();
    let tokens = &vocabulary.tokenizer()["model"]["vocab"];
    let expected = json!({"a": 0, "b": 1, "c": 2, "ab": 3, "<end>": 4, "d": 5, "cd": 6, "cdb": 7, "<think>": 8});
    assert_eq!((tokens, vocabulary.len()), (&expected, 9));
    assert_eq!(vocabulary.tokenizer()["model"]["merges"], json!([["a", "b"], ["c", "d"], ["cd", "b"]]));
    assert_eq!(vocabulary.map("one").unwrap()[..6], [Some(0), Some(1), Some(2), Some(3), Some(4), None]);
    let two = [None, Some(2), Some(0), None, Some(5), Some(1), Some(3), Some(4), Some(6)];
    assert_eq!(vocabulary.map("two").unwrap(), two);
    assert!(!vocabulary.is_order_of("one", 5) && !vocabulary.is_order_of("two", 9));
}

#[test]
fn absent_tokens_get_the_bases_row_or_the_mean() {
    let vocabulary = united(&pair()).unwrap();
    let rows =
        |first: f32, count: u8| (0..count).flat_map(move |row| [first + f32::from(row), 0.5]).collect::<Vec<f32>>();
    let (one, two) = (rows(10.0, 5), rows(100.0, 9));
    let tables = [("one", one.as_slice()), ("two", two.as_slice())];
    let column = |rows: Vec<f32>| rows.into_iter().step_by(2).collect::<Vec<f32>>();
    let of = |model: &str| column(vocabulary.rows(model, &tables, 2).unwrap());
    assert_eq!(of("one"), [10.0, 11.0, 12.0, 13.0, 14.0, 101.0, 103.0, 104.0, 106.0]);
    assert_eq!(of("two"), [10.0, 102.0, 100.0, 13.0, 105.0, 101.0, 103.0, 104.0, 106.0]);
    // Without the base among the sources the mean of the others stands in, and 0 where nobody has a row.
    let mut third = pair()[1].clone();
    third["model"]["vocab"] = json!({"b": 0, "d": 1});
    third["model"]["merges"] = json!([]);
    third["added_tokens"] = json!([]);
    let member = |model, tokenizer, rows| Member { model, tokenizer, rows };
    let [first, second] = &pair();
    let members = [member("one", first, 5), member("two", second, 9), member("three", &third, 2)];
    let vocabulary = Vocabulary::new(&TokenizerSource::Model("two".into()), "one", &members).unwrap();
    assert_eq!((vocabulary.len(), vocabulary.tokenizer()), (7, second));
    assert_eq!(vocabulary.map("three").unwrap(), [None, Some(1), Some(0), None, None, None, None]);
    let tables = [("two", two.as_slice()), ("three", &[7.0, 0.0, 8.0, 0.0])];
    let found = column(vocabulary.rows("three", &tables, 2).unwrap());
    assert_eq!(found, [100.0, 8.0, 7.0, 103.0, 104.0, 105.0, 106.0]);
    let short = vocabulary.rows("two", &[("two", &two[..6])], 2).unwrap_err();
    assert_eq!(short.to_string(), "tokenizer of `two`: a tensor has only 3 rows, and its tokens need more");
}

#[test]
fn one_tokenizer_for_all_stays_as_it_is() {
    let [first, _] = pair();
    let vocabulary = united(&[first.clone(), first.clone()]).unwrap();
    assert_eq!(vocabulary.tokenizer(), &first);
    assert!(vocabulary.is_order_of("one", 5) && vocabulary.is_order_of("two", 5));
    // A padded table loses the rows that are no token's.
    assert!(!vocabulary.is_order_of("two", 9));
    assert_eq!(vocabulary.rows("two", &[("two", &[1.0; 9])], 1).unwrap().len(), 5);
}

#[test]
fn tokenizers_that_cannot_be_united_are_refused_with_a_reason() {
    let [first, second] = pair();
    let error = |second: &Value| united(&[first.clone(), second.clone()]).unwrap_err().to_string();
    let mut other = second.clone();
    other["model"] = json!({"type": "Unigram", "vocab": [["x", 0.0]]});
    assert_eq!(
        error(&other),
        "tokenizer of `two`: it cannot be united with that of `one`: it is of type Unigram, not BPE"
    );
    other = second.clone();
    other["decoder"] = json!({"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]});
    assert!(
        error(&other).ends_with("its tokens are spelt another way (decoder Replace+ByteFallback, not )"),
        "{}",
        error(&other)
    );
    other = second.clone();
    other["model"]["end_of_word_suffix"] = json!("</w>");
    assert!(error(&other).ends_with("its `end_of_word_suffix` is \"</w>\", not \"\""));
    assert_eq!(
        error(&json!({})),
        "tokenizer of `two`: it cannot be united with that of `one`: it is of type none, not BPE"
    );
    let unigram = json!({"model": {"type": "Unigram", "vocab": [["x", 0.0]]}});
    let found = united(&[unigram, second]).unwrap_err().to_string();
    assert_eq!(found, "tokenizer of `one`: it is of type Unigram; only BPE tokenizers can be united");
    let members = [Member { model: "one", tokenizer: &first, rows: 4 }];
    let found = Vocabulary::new(&TokenizerSource::Base, "one", &members).unwrap_err().to_string();
    assert!(
        found.starts_with("tokenizer of `one`: token \"<end>\" is number 4, but the embeddings have 4 rows"),
        "{found}"
    );
    let missing = Vocabulary::new(&TokenizerSource::Model("z".into()), "one", &members).unwrap_err().to_string();
    assert_eq!(missing, "tokenizer of `z`: it is not among the models that were given");
}
