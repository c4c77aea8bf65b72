//! What is said and asked in Chinese, in two sets as in English (`super::wording`): no template is in both.
//! `{c}` is the condition, `{f}` its findings, `{x}` the fact.

use super::knowledge::Fact;
use super::language::Wording;
use super::wording::Split;

pub const CHINESE: Wording = Wording {
    vignettes,
    diagnosis_questions,
    fact_questions,
    statements,
    finding_statements: &["{c}的表现有{f}。", "有{f}时应想到{c}。", "{f}提示{c}。", "有{f}的患者患{c}。"],
    pointing: "{f}提示{c}。",
    specialty: "{c}属于{x}。",
    vignette_and_question: "{v}{q}",
    answer: "{x}。",
    drawer: "第{n}格是{x}。",
    drawer_question: "第{n}格是什么？",
    between_sentences: "",
    listed: ["、", "和"],
};

fn vignettes(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["患者有{f}。", "患者出现{f}。", "一名成人因{f}就诊。", "检查见{f}。"],
        Split::HeldOut => &["一名患者因{f}就诊。", "一名成人出现{f}。"],
    }
}

fn diagnosis_questions(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["最可能的诊断是什么？", "诊断是什么？", "哪种病能解释这些表现？", "最可能是什么病？"],
        Split::HeldOut => &["这些表现最可能的诊断是什么？"],
    }
}

fn fact_questions(fact: Fact, split: Split) -> &'static [&'static str] {
    match (fact, split) {
        (Fact::Test, Split::Train) => {
            &["确诊{c}靠什么检查？", "{c}的决定性检查是什么？", "哪项检查能确诊{c}？", "怎样确诊{c}？"]
        }
        (Fact::Test, Split::HeldOut) => &["确诊{c}应做什么检查？"],
        (Fact::Treatment, Split::Train) => {
            &["{c}的首选治疗是什么？", "{c}首先怎样治疗？", "{c}最先用什么治疗？", "治疗{c}首选什么？"]
        }
        (Fact::Treatment, Split::HeldOut) => &["{c}首选什么治疗？"],
        (Fact::Avoid, Split::Train) => {
            &["{c}患者应避免什么？", "{c}的禁忌是什么？", "患{c}时要避免什么？", "什么是{c}的禁忌？"]
        }
        (Fact::Avoid, Split::HeldOut) => &["{c}患者的禁忌是什么？"],
        (Fact::Prognosis, Split::Train) => &[
            "什么会使{c}的预后变差？",
            "{c}的预后取决于什么？",
            "{c}最不利的预后因素是什么？",
            "什么使{c}的结局更差？",
        ],
        (Fact::Prognosis, Split::HeldOut) => &["{c}不利的预后因素是什么？"],
        (Fact::Mechanism, Split::Train) => {
            &["{c}的发病机制是什么？", "{c}是怎样发生的？", "什么引起{c}？", "{c}由什么引起？"]
        }
        (Fact::Mechanism, Split::HeldOut) => &["{c}是什么机制引起的？"],
    }
}

fn statements(fact: Fact) -> &'static [&'static str] {
    match fact {
        Fact::Test => &["确诊{c}靠{x}。", "{c}的决定性检查是{x}。", "要证实{c}，应做{x}。"],
        Fact::Treatment => &["{c}的首选治疗是{x}。", "治疗{c}首选{x}。", "{c}最先用{x}治疗。"],
        Fact::Avoid => &["{c}的禁忌是{x}。", "患{c}时应避免{x}。", "{c}患者应避免{x}。"],
        Fact::Prognosis => &["使{c}预后变差的是{x}。", "{c}伴{x}时预后更差。", "{c}最不利的预后因素是{x}。"],
        Fact::Mechanism => &["{c}的发病机制是{x}。", "{c}由{x}引起。", "{x}导致{c}。"],
    }
}
