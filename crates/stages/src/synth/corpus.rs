//! The textbook that the base model reads: every fact of every condition, in changing order and wording. The drills
//! beside it are in `exercises`.

use gazal_data::Draws;

use super::knowledge::{Condition, Fact};
use super::problems::list;
use super::wording;

/// One paragraph about a condition: two statements of findings and all facts, in random order.
pub fn paragraph(condition: &Condition, draws: &mut Draws) -> String {
    let mut sentences: Vec<String> = Fact::ALL
        .iter()
        .map(|&fact| draws.pick(wording::statements(fact)).replace("{x}", fact.of(condition)))
        .collect();
    let mut order: Vec<usize> = (0..condition.findings.len()).collect();
    draws.shuffle(&mut order);
    for half in order.chunks(3) {
        let findings: Vec<&str> = half.iter().map(|&index| condition.findings[index].as_str()).collect();
        sentences.push(draws.pick(wording::finding_statements()).replace("{f}", &list(&findings)));
    }
    sentences.push(format!("The field of {{c}} is {}.", condition.specialty));
    draws.shuffle(&mut sentences);
    let sentences: Vec<String> = sentences.iter().map(|sentence| sentence.replace("{c}", &condition.name)).collect();
    sentences.join(" ")
}
