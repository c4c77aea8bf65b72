//! The search for benchmark questions in training texts.
//!
//! After GPT-3 (Brown et al. 2020, appendix C) texts are compared as lower-case words without punctuation ([`words`]), and a
//! question has leaked if one of its n-grams of `min(13, its length)` words stands in a training text. Texts
//! here come from templates, so the words of the templates are left out of both sides first: what remains is what
//! makes a question this one. Besides, a question that stands in a training text word for word, template and
//! all, has leaked at any length.
//!
//! A question's length is that of the item as it is asked: context, question and options. The question alone may
//! be one word long without its template (`asthma`), which would make every text about asthma a leak.
//!
//! Only words of the questions get a number, and any other word is 0, which no n-gram contains. An n-gram is
//! then a slice of numbers in a hash table, so that the search takes one look-up per training word and length
//! and is exact.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{Item, words};

/// A question, or a part of it, that stands in a training text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    pub item: String,
    /// The id of the training row.
    pub row: String,
    /// The words that both have, without template words unless `rule` is exact.
    pub ngram: String,
    pub rule: Rule,
}

/// How a leak was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// All words of the question, in order.
    Exact,
    /// An n-gram without template words.
    Ngram,
}

/// The words of question templates, to be left out.
pub fn template_words<'a>(templates: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    templates.into_iter().flat_map(words).collect()
}

/// Numbers of words; 0 for all that are in no question.
type Words = Vec<u32>;

/// What is looked for: each key is a rule and an n-gram, each value the probes that have it.
type Table = HashMap<Vec<u32>, Vec<usize>>;

/// A text that must not occur.
struct Probe {
    item: String,
    words: Words,
}

/// Finds questions in texts, row by row.
pub struct Detector {
    ngram: usize,
    template: HashSet<String>,
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    probes: Vec<Probe>,
    tables: BTreeMap<(Rule, usize), Table>,
}

impl Detector {
    /// The length of n-grams, as GPT-3 and its successors have it.
    pub const NGRAM: usize = 13;

    /// Looks for n-grams of at most `ngram` words, without the words of the templates and the letters that label
    /// options.
    pub fn new(ngram: usize, template: BTreeSet<String>) -> Detector {
        Detector {
            ngram: ngram.max(1),
            template: template.into_iter().chain(('a'..='z').map(String::from)).collect(),
            numbers: HashMap::new(),
            names: vec![String::new()],
            probes: Vec::new(),
            tables: BTreeMap::new(),
        }
    }

    /// A detector with [`Detector::NGRAM`] for all these items.
    pub fn of(items: &[Item], template: BTreeSet<String>) -> Detector {
        let mut detector = Detector::new(Detector::NGRAM, template);
        items.iter().for_each(|item| detector.add(item));
        detector
    }

    /// Looks for an item: for its n-grams and for its question word for word.
    pub fn add(&mut self, item: &Item) {
        let context = item.context.as_deref().unwrap_or_default();
        let whole = format!("{context}\n{}\n{}", item.question, item.options.join("\n"));
        self.add_ngrams(&item.id, &whole);
        self.add_exact(&item.id, &item.question);
    }

    /// Looks for the n-grams of any text, such as a statement of the fact behind an item.
    pub fn add_ngrams(&mut self, item: &str, text: &str) {
        let kept: Vec<String> = words(text).filter(|word| !self.template.contains(word)).collect();
        self.probe(Rule::Ngram, item, kept);
    }

    /// Looks for any text word for word, template words included.
    pub fn add_exact(&mut self, item: &str, text: &str) {
        self.probe(Rule::Exact, item, words(text).collect());
    }

    /// An exact probe is found by its first n-gram and then compared as a whole.
    fn probe(&mut self, rule: Rule, item: &str, text: Vec<String>) {
        let length = text.len().min(self.ngram);
        if length == 0 {
            return;
        }
        let words: Words = text.into_iter().map(|word| self.number(word)).collect();
        let index = self.probes.len();
        let table = self.tables.entry((rule, length)).or_default();
        let starts = if rule == Rule::Exact { 1 } else { usize::MAX };
        for ngram in words.windows(length).take(starts) {
            let probes = table.entry(ngram.to_vec()).or_default();
            if probes.last() != Some(&index) {
                probes.push(index);
            }
        }
        self.probes.push(Probe { item: item.into(), words });
    }

    fn number(&mut self, word: String) -> u32 {
        let next = self.names.len() as u32;
        *self.numbers.entry(word).or_insert_with_key(|word| {
            self.names.push(word.clone());
            next
        })
    }

    /// Every item that this training text contains, once for each rule, in the order in which they were added.
    pub fn check(&self, row: &str, text: &str) -> Vec<Hit> {
        let all: Vec<String> = words(text).collect();
        let number = |word: &String| self.numbers.get(word).copied().unwrap_or(0);
        let exact: Words = all.iter().map(number).collect();
        let kept: Words = all.iter().filter(|word| !self.template.contains(*word)).map(number).collect();
        let mut found: BTreeMap<(usize, Rule), &[u32]> = BTreeMap::new();
        for (&(rule, length), table) in &self.tables {
            let text = if rule == Rule::Exact { &exact } else { &kept };
            for (start, ngram) in text.windows(length).enumerate() {
                for &probe in table.get(ngram).into_iter().flatten() {
                    let words = &self.probes[probe].words;
                    if rule == Rule::Ngram {
                        found.entry((probe, rule)).or_insert(ngram);
                    } else if text[start..].starts_with(words) {
                        found.entry((probe, rule)).or_insert(words);
                    }
                }
            }
        }
        found.into_iter().map(|((probe, rule), ngram)| self.hit(probe, rule, row, ngram)).collect()
    }

    fn hit(&self, probe: usize, rule: Rule, row: &str, ngram: &[u32]) -> Hit {
        let names: Vec<&str> = ngram.iter().map(|&number| self.names[number as usize].as_str()).collect();
        Hit { item: self.probes[probe].item.clone(), row: row.into(), ngram: names.join(" "), rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::tests::item;

    fn template() -> BTreeSet<String> {
        template_words(["Which drug is the first-line treatment of {}?", "A patient has {} and {}."])
    }

    fn vignette() -> Item {
        let question = "A patient has fever, cough and rusty sputum after a long winter journey by train through \
                        snowy mountains with two elderly cousins. Which drug is the first-line treatment?";
        Item { id: "vignette".into(), question: question.into(), ..item(&["Amoxicillin", "Aspirin"]) }
    }

    fn short() -> Item {
        let question = "Which drug is the first-line treatment of gout?";
        Item { id: "short".into(), question: question.into(), ..item(&["Naproxen", "Insulin", "Iron", "Heparin"]) }
    }

    fn detector() -> Detector {
        Detector::of(&[vignette(), short()], template())
    }

    #[test]
    fn a_planted_leak_is_seen() {
        let rows = [
            ("clean", "Gout is a crystal arthritis; its first-line treatment is naproxen.".to_string()),
            ("planted", format!("Step 1: {} The answer is A.", vignette().question.to_uppercase())),
            ("harmless", "Pneumonia brings fever, cough and rusty sputum.".to_string()),
        ];
        let hits: Vec<Hit> = rows.iter().flat_map(|(row, text)| detector().check(row, text)).collect();
        let seen: Vec<_> = hits.iter().map(|hit| (hit.item.as_str(), hit.row.as_str(), hit.rule)).collect();
        assert_eq!(seen, [("vignette", "planted", Rule::Ngram), ("vignette", "planted", Rule::Exact)]);
        assert_eq!(
            hits[0].ngram,
            "fever cough rusty sputum after long winter journey by train through snowy mountains"
        );
        assert!(hits[1].ngram.starts_with("a patient has fever") && hits[1].ngram.ends_with("treatment"));
    }

    #[test]
    fn part_of_a_question_in_other_template_words_is_a_leak() {
        let text = "Has the patient fever, cough; rusty sputum after long winter journey by train, through \
                    snowy-mountains and on?";
        let hits = detector().check("row", text);
        assert_eq!(hits.len(), 1);
        assert_eq!((hits[0].rule, hits[0].ngram.split(' ').count()), (Rule::Ngram, 13));
        let cut = text.replace("mountains", "hills");
        assert!(detector().check("row", &cut).is_empty(), "twelve words are not thirteen");
    }

    #[test]
    fn a_short_question_is_compared_as_a_whole() {
        let check = |text: &str| detector().check("row", text).iter().map(|hit| hit.rule).collect::<Vec<_>>();
        assert_eq!(check("which drug is the FIRST LINE treatment of gout"), [Rule::Exact]);
        assert_eq!(check("Gout: naproxen, insulin, iron, heparin"), [Rule::Ngram]);
        let asked = short().user_turn().replace("Which drug", "Which first");
        assert_eq!(check(&asked), [Rule::Ngram], "the labels of options do not hide them");
        assert!(check("Gout: naproxen, insulin, iron").is_empty());
        assert!(check("The first-line treatment of gout is naproxen.").is_empty());
        assert!(check("").is_empty());
    }

    #[test]
    fn facts_of_ones_own_can_be_looked_for() {
        let mut detector = Detector::new(Detector::NGRAM, template());
        detector.add_ngrams("fact", "The first-line treatment of gout is naproxen.");
        detector.add_exact("sentence", "Gout is a crystal arthritis.");
        detector.add_ngrams("nothing", "which is the");
        let hits = detector.check("row", "A patient has gout: naproxen. Gout is a crystal arthritis");
        assert_eq!(hits.iter().map(|hit| hit.item.as_str()).collect::<Vec<_>>(), ["fact", "sentence"]);
        assert!(detector.check("row", "Gout is a rare crystal arthritis. Gout and then naproxen").is_empty());
    }

    #[test]
    fn the_contexts_of_items_count_too() {
        let mut asked = short();
        asked.context = Some("one two three four five six seven eight nine ten eleven twelve thirteen".into());
        let hits =
            Detector::of(&[asked.clone()], template()).check("row", asked.context.as_deref().unwrap_or_default());
        assert_eq!(hits.len(), 1);
        assert_eq!(words("β-blocker's 3.2%").collect::<Vec<_>>(), ["β", "blocker", "s", "3", "2"]);
    }
}
