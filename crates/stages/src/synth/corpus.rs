//! What the base model reads: pages of facts and drills (`exercises`).

use gazal_data::Draws;

use super::knowledge::{Condition, Fact};
use super::language::Wording;
use super::problems::split_triples;
use super::wording::Split;

/// Sentences of a page.
const SENTENCES: usize = 6;

/// A page: facts and findings, each of another condition, so that every one must be remembered and none can be copied
/// from the sentence before. No triple of findings that a benchmark shows is in it.
pub fn page(conditions: &[Condition], wording: &Wording, draws: &mut Draws) -> String {
    let sentences: Vec<String> = (0..SENTENCES).map(|_| sentence(conditions, wording, draws)).collect();
    sentences.join(wording.between_sentences)
}

fn sentence(conditions: &[Condition], wording: &Wording, draws: &mut Draws) -> String {
    let index = draws.below(conditions.len());
    let condition = &conditions[index];
    let text = match draws.below(20) {
        0..=8 => {
            let fact = *draws.pick(&Fact::ALL);
            draws.pick::<&str>((wording.statements)(fact)).replace("{x}", fact.of(condition))
        }
        9 => wording.specialty.replace("{x}", &condition.specialty),
        _ => {
            let mut findings = *draws.pick(&split_triples(index, Split::Train));
            draws.shuffle(&mut findings);
            let findings = findings.map(|finding| condition.findings[finding].as_str());
            draws.pick::<&str>(wording.finding_statements).replace("{f}", &wording.list(&findings))
        }
    };
    text.replace("{c}", &condition.name)
}
