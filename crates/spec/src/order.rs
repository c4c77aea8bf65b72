//! Stages after all that they need, and cycles by name.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::diagnostic::{Origin, Report};
use crate::stage::Draft;
use crate::wire::Ties;

/// The order in which the drafts can run: of those that are ready always the first of the file.
///
/// Drafts on a cycle and behind one are missing in it.
pub(crate) fn sort(ties: &[Ties]) -> Vec<usize> {
    let mut readers = vec![Vec::new(); ties.len()];
    let mut open = vec![0; ties.len()];
    for (reader, ties) in ties.iter().enumerate() {
        let needs: BTreeSet<usize> = ties.links().map(|link| link.stage).collect();
        open[reader] = needs.len();
        needs.iter().for_each(|&need| readers[need].push(reader));
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..ties.len()).filter(|&at| open[at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(ties.len());
    while let Some(Reverse(stage)) = ready.pop() {
        order.push(stage);
        for &reader in &readers[stage] {
            open[reader] -= 1;
            if open[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    order
}

/// Reports a shortest cycle through every stage that is on one.
pub(crate) fn report_cycles(drafts: &[Box<Draft>], ties: &[Ties], sorted: &[usize], report: &mut Report) {
    if sorted.len() == drafts.len() {
        return;
    }
    let sorted: BTreeSet<&usize> = sorted.iter().collect();
    let left: BTreeSet<usize> = (0..drafts.len()).filter(|at| !sorted.contains(at)).collect();
    let mut told = BTreeSet::new();
    for &start in &left {
        if told.contains(&start) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(start, ties, &left) {
            report_cycle(&cycle, drafts, ties, report);
            told.extend(cycle);
        }
    }
}

/// The stages from `start` along what each needs until one needs `start` again.
fn shortest_cycle(start: usize, ties: &[Ties], left: &BTreeSet<usize>) -> Option<Vec<usize>> {
    let mut reached_from = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(stage) = queue.pop_front() {
        for link in ties[stage].links().filter(|link| left.contains(&link.stage)) {
            if link.stage == start {
                return Some(path(start, stage, &reached_from));
            }
            if let Entry::Vacant(new) = reached_from.entry(link.stage) {
                new.insert(stage);
                queue.push_back(link.stage);
            }
        }
    }
    None
}

fn path(start: usize, end: usize, reached_from: &HashMap<usize, usize>) -> Vec<usize> {
    let mut path = vec![end];
    while let Some(&before) = path.last().filter(|&&last| last != start).and_then(|last| reached_from.get(last)) {
        path.push(before);
    }
    path.reverse();
    path
}

fn report_cycle(cycle: &[usize], drafts: &[Box<Draft>], ties: &[Ties], report: &mut Report) {
    let (first, second) = (cycle[0], cycle.get(1).copied().unwrap_or(cycle[0]));
    let origin =
        ties[first].links().find(|link| link.stage == second).map_or(Origin::Nowhere, |link| link.origin.clone());
    if cycle.len() == 1 {
        report.error(&origin, format!("the stage `{}` needs its own output", drafts[first].base));
        return;
    }
    let bases: BTreeSet<&str> = cycle.iter().map(|&at| drafts[at].base.as_str()).collect();
    let name = |&at: &usize| if bases.len() == cycle.len() { &drafts[at].base } else { &drafts[at].name };
    let names: Vec<&str> = cycle.iter().chain([&first]).map(|at| name(at).as_str()).collect();
    let message = format!("these stages need each other: {}", names.join(" → "));
    report.error(&origin, message).label(format!("`{}` needs `{}` here", names[0], names[1]));
}
