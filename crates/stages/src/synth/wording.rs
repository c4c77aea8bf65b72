//! Every sentence that is said about a condition, in two sets: what training data says, and what only the held-out
//! benchmarks say. No template is in both.

use super::knowledge::Fact;

/// Which set of wordings to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    HeldOut,
}

/// `{f}` stands for the findings.
pub fn vignettes(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &[
            "A patient presents with {f}.",
            "A patient has {f}.",
            "An adult comes with {f}.",
            "The findings are {f}.",
            "On examination there is {f}.",
            "A person is seen for {f}.",
        ],
        Split::HeldOut => {
            &["A patient is seen with {f}.", "A person comes with {f}.", "An adult has {f} on examination."]
        }
    }
}

/// Questions after a vignette: the diagnosis, or a fact about the condition that it describes.
pub fn case_questions(fact: Option<Fact>, split: Split) -> &'static [&'static str] {
    use Split::{HeldOut, Train};
    match (fact, split) {
        (None, Train) => &[
            "What is the most likely diagnosis?",
            "Which diagnosis explains the findings?",
            "What is the diagnosis?",
            "Which diagnosis is likely?",
            "What diagnosis is most likely here?",
        ],
        (None, HeldOut) => &["Which diagnosis is most likely?"],
        (Some(Fact::Test), Train) => &[
            "Which test is decisive?",
            "What is the decisive test?",
            "Which test proves the diagnosis?",
            "Which test decides here?",
        ],
        (Some(Fact::Test), HeldOut) => &["What test is decisive here?"],
        (Some(Fact::Treatment), Train) => &[
            "What is the first-line treatment?",
            "Which treatment comes first?",
            "What is the best first treatment?",
            "Which treatment is best here?",
        ],
        (Some(Fact::Treatment), HeldOut) => &["Which treatment is first-line here?"],
        (Some(Fact::Avoid), Train) => &[
            "What must be avoided?",
            "Which is contraindicated?",
            "What is a contraindication?",
            "What must be avoided here?",
        ],
        (Some(Fact::Avoid), HeldOut) => &["Which must be avoided here?"],
        (Some(Fact::Prognosis), Train) => &[
            "What worsens the prognosis?",
            "Which factor decides the prognosis?",
            "What is the main prognostic factor?",
            "What worsens the prognosis here?",
        ],
        (Some(Fact::Prognosis), HeldOut) => &["Which factor worsens the prognosis here?"],
        (Some(Fact::Mechanism), Train) => &[
            "What is the mechanism?",
            "Which mechanism explains the findings?",
            "What is the underlying mechanism?",
            "Which mechanism is it here?",
        ],
        (Some(Fact::Mechanism), HeldOut) => &["Which mechanism is the cause here?"],
    }
}

/// Questions that name the condition, `{c}`.
pub fn fact_questions(fact: Fact, split: Split) -> &'static [&'static str] {
    use Split::{HeldOut, Train};
    match (fact, split) {
        (Fact::Test, Train) => &[
            "Which test is decisive in {c}?",
            "What is the decisive test for {c}?",
            "Which test proves {c}?",
            "For {c}, which test proves it?",
            "For {c}, what is the decisive test?",
        ],
        (Fact::Test, HeldOut) => &["For {c}, what test is decisive?"],
        (Fact::Treatment, Train) => &[
            "What is the first-line treatment of {c}?",
            "Which treatment comes first in {c}?",
            "What is the best first treatment of {c}?",
            "For {c}, what is the first-line treatment?",
            "For {c}, which treatment comes first?",
        ],
        (Fact::Treatment, HeldOut) => &["For {c}, which treatment is first-line?"],
        (Fact::Avoid, Train) => &[
            "What must be avoided in {c}?",
            "Which is contraindicated in {c}?",
            "What is a contraindication in {c}?",
            "For {c}, what must be avoided?",
            "For {c}, which is contraindicated?",
        ],
        (Fact::Avoid, HeldOut) => &["For {c}, which must be avoided?"],
        (Fact::Prognosis, Train) => &[
            "What worsens the prognosis of {c}?",
            "Which factor decides the prognosis of {c}?",
            "What is the main prognostic factor in {c}?",
            "For {c}, what worsens the prognosis?",
            "For {c}, which factor decides the prognosis?",
        ],
        (Fact::Prognosis, HeldOut) => &["For {c}, which factor worsens the prognosis?"],
        (Fact::Mechanism, Train) => &[
            "What is the mechanism of {c}?",
            "Which mechanism explains {c}?",
            "What is the underlying mechanism of {c}?",
            "For {c}, what is the mechanism?",
            "For {c}, which mechanism explains it?",
        ],
        (Fact::Mechanism, HeldOut) => &["For {c}, which mechanism is the cause?"],
    }
}

/// Statements of a fact, `{c}` the condition and `{x}` the fact, for the textbook that a base model reads.
pub fn statements(fact: Fact) -> &'static [&'static str] {
    match fact {
        Fact::Test => {
            &["The decisive test for {c} is {x}.", "The proof of {c} is {x}.", "In {c} the test that decides is {x}."]
        }
        Fact::Treatment => &[
            "The first-line treatment of {c} is {x}.",
            "For {c} the first treatment is {x}.",
            "In {c} the best first treatment is {x}.",
        ],
        Fact::Avoid => {
            &["A contraindication in {c} is {x}.", "In {c} avoid {x}.", "What must be avoided in {c} is {x}."]
        }
        Fact::Prognosis => &[
            "The prognosis of {c} is worse with {x}.",
            "In {c} the main prognostic factor is {x}.",
            "The outcome of {c} is worse with {x}.",
        ],
        Fact::Mechanism => {
            &["The mechanism of {c} is {x}.", "The cause of {c} is {x}.", "The underlying cause of {c} is {x}."]
        }
    }
}

/// Statements of the findings `{f}` of a condition `{c}`.
pub const FINDING_STATEMENTS: &[&str] = &[
    "The findings of {c} are {f}.",
    "With {f} think of {c}.",
    "The findings {f} point to {c}.",
    "A patient with {f} has {c}.",
];

/// Study abstracts: `{t}` the treatment, `{c}` the condition, `{n}` patients, `{a}` and `{b}` percent, `{p}` the p value.
pub fn abstracts(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &[
            "{n} patients with {c} received {t} or placebo. Recovery was seen in {a}% and {b}% (p = {p}).",
            "In a trial of {t} in {c}, {n} patients took part. {a}% and {b}% recovered, p = {p}.",
            "We gave {t} or placebo to {n} patients with {c}. Outcome was better in {a}% and {b}% (p = {p}).",
        ],
        Split::HeldOut => {
            &["In {n} patients with {c}, {t} was compared with placebo. {a}% and {b}% got better (p = {p})."]
        }
    }
}

pub fn abstract_questions(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["Does {t} help in {c}?", "Is {t} better than placebo in {c}?"],
        Split::HeldOut => &["Is {t} of help in {c}?"],
    }
}

/// Words of the templates themselves: the contamination check leaves them out.
pub fn template_words() -> std::collections::BTreeSet<String> {
    let mut texts: Vec<&str> = Vec::new();
    for split in [Split::Train, Split::HeldOut] {
        texts.extend(vignettes(split));
        texts.extend(case_questions(None, split));
        texts.extend(abstracts(split));
        texts.extend(abstract_questions(split));
        for fact in Fact::ALL {
            texts.extend(case_questions(Some(fact), split));
            texts.extend(fact_questions(fact, split));
        }
    }
    let words = texts.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '{' && c != '-'));
    words.filter(|word| !word.is_empty() && !word.starts_with('{')).map(str::to_lowercase).collect()
}
