//! The graph as one can look at it: the points of a matrix are one node, and where there are still too many nodes, those
//! of one kind and one depth are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::edges::Edge;
use super::facts::{Stage, Standing};

/// More nodes are folded once more, and then are no picture.
pub(crate) const MOST: usize = 120;

/// A stage, or several as one.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    pub name: String,
    pub kind: String,
    /// Places in the run, in its order.
    pub members: Vec<usize>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Folded {
    /// Each after all that it needs.
    pub nodes: Vec<Node>,
    /// Labels by nodes.
    pub edges: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Node {
    pub fn count(&self, stages: &[Stage], standing: Standing) -> usize {
        self.members.iter().filter(|&&member| stages[member].standing == standing).count()
    }

    /// That of its worst member.
    pub fn standing(&self, stages: &[Stage]) -> Standing {
        self.members.iter().map(|&member| stages[member].standing).max().unwrap_or(Standing::Waiting)
    }

    /// What its members took in this run, together.
    pub fn seconds(&self, stages: &[Stage]) -> f64 {
        self.members.iter().filter_map(|&member| stages[member].seconds).sum()
    }
}

/// `None` where no folding makes it small enough to look at.
pub(crate) fn fold(stages: &[Stage], edges: &[Edge]) -> Option<Folded> {
    let mut alone: BTreeSet<usize> = BTreeSet::new();
    let folded = loop {
        let folded = by(stages, edges, |index| match alone.contains(&index) {
            true => (stages[index].name.as_str(), index),
            false => (stages[index].base.as_str(), usize::MAX),
        });
        match sorted(folded) {
            Ok(folded) => break folded,
            // Points that read points of each other's stages cannot be one node each.
            Err(circle) => alone.extend(circle),
        }
    };
    if folded.nodes.len() <= MOST {
        return Some(folded);
    }
    let depths = depths(&folded);
    let mut depth_of = vec![0; stages.len()];
    for (node, depth) in folded.nodes.iter().zip(&depths) {
        node.members.iter().for_each(|&member| depth_of[member] = *depth);
    }
    let mut coarse = sorted(by(stages, edges, |index| (stages[index].kind.as_str(), depth_of[index]))).ok()?;
    for node in coarse.nodes.iter_mut().filter(|node| node.members.len() > 1) {
        node.name = format!("{} × {}", node.members.len(), node.kind);
    }
    (coarse.nodes.len() <= MOST).then_some(coarse)
}

/// Stages with the same group are one node, named after it or after its only member.
fn by<'a>(stages: &'a [Stage], edges: &[Edge], group: impl Fn(usize) -> (&'a str, usize)) -> Folded {
    let mut found: HashMap<(&str, usize), usize> = HashMap::new();
    let (mut folded, mut node_of) = (Folded::default(), Vec::new());
    for (index, stage) in stages.iter().enumerate() {
        let group = group(index);
        let at = *found.entry(group).or_insert(folded.nodes.len());
        if at == folded.nodes.len() {
            folded.nodes.push(Node { name: stage.name.clone(), kind: stage.kind.clone(), members: Vec::new() });
        } else {
            folded.nodes[at].name = group.0.to_string();
        }
        folded.nodes[at].members.push(index);
        node_of.push(at);
    }
    for edge in edges.iter().filter(|edge| node_of[edge.from] != node_of[edge.to]) {
        let labels = folded.edges.entry((node_of[edge.from], node_of[edge.to])).or_default();
        labels.extend(Some(edge.label.clone()).filter(|label| !label.is_empty()));
    }
    folded
}

/// The nodes in an order in which each comes after all that it needs; the members of those that are in a circle, or
/// behind one, where there is none.
fn sorted(folded: Folded) -> Result<Folded, Vec<usize>> {
    let mut open = vec![0; folded.nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); folded.nodes.len()];
    for &(from, to) in folded.edges.keys() {
        open[to] += 1;
        readers[from].push(to);
    }
    let mut due: BTreeSet<usize> = (0..open.len()).filter(|&node| open[node] == 0).collect();
    let mut place = vec![usize::MAX; open.len()];
    let mut placed = 0;
    while let Some(node) = due.pop_first() {
        place[node] = placed;
        placed += 1;
        for &reader in &readers[node] {
            open[reader] -= 1;
            if open[reader] == 0 {
                due.insert(reader);
            }
        }
    }
    if placed < place.len() {
        let circle = folded.nodes.into_iter().zip(place).filter(|(_, place)| *place == usize::MAX);
        return Err(circle.flat_map(|(node, _)| node.members).collect());
    }
    let mut nodes: Vec<(usize, Node)> = place.iter().copied().zip(folded.nodes).collect();
    nodes.sort_by_key(|(place, _)| *place);
    let edges = folded.edges.into_iter().map(|((from, to), labels)| ((place[from], place[to]), labels)).collect();
    Ok(Folded { nodes: nodes.into_iter().map(|(_, node)| node).collect(), edges })
}

/// The length of the longest way to each node.
fn depths(folded: &Folded) -> Vec<usize> {
    let mut depths = vec![0; folded.nodes.len()];
    let mut edges: Vec<&(usize, usize)> = folded.edges.keys().collect();
    edges.sort_by_key(|(_, to)| *to);
    for &(from, to) in edges {
        depths[to] = depths[to].max(depths[from] + 1);
    }
    depths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::stage;
    use super::*;

    fn edges(pairs: &[(usize, usize)]) -> Vec<Edge> {
        pairs.iter().map(|&(from, to)| Edge { from, to, label: format!("{from}") }).collect()
    }

    fn names(folded: &Folded) -> Vec<(&str, usize)> {
        folded.nodes.iter().map(|node| (node.name.as_str(), node.members.len())).collect()
    }

    #[test]
    fn points_are_one_node_and_stand_as_the_worst_of_them() {
        let mut stages: Vec<Stage> = ["a", "b@x=1", "b@x=2", "c@x=1", "d"].map(stage).into();
        stages[2].standing = Standing::Failed;
        let folded = fold(&stages, &edges(&[(0, 1), (0, 2), (1, 4), (2, 4), (3, 4)])).unwrap();
        assert_eq!(names(&folded), [("a", 1), ("b", 2), ("c@x=1", 1), ("d", 1)]);
        assert_eq!(folded.edges.keys().copied().collect::<Vec<_>>(), [(0, 1), (1, 3), (2, 3)]);
        assert_eq!(folded.edges[&(1, 3)].len(), 2, "labels of both");
        assert_eq!(folded.nodes[1].standing(&stages), Standing::Failed);
        assert_eq!(folded.nodes[1].count(&stages, Standing::Ran), 1);
    }

    #[test]
    fn points_that_read_each_other_s_stages_stay_apart() {
        let stages: Vec<Stage> = ["z", "a@x=1", "b@x=1", "a@x=2", "b@x=2"].map(stage).into();
        let folded = fold(&stages, &edges(&[(0, 1), (1, 2), (2, 3), (3, 4)])).unwrap();
        assert_eq!(names(&folded), [("z", 1), ("a@x=1", 1), ("b@x=1", 1), ("a@x=2", 1), ("b@x=2", 1)]);
    }

    #[test]
    fn many_stages_are_folded_by_depth_and_kind_or_are_no_picture() {
        let stages: Vec<Stage> = (0..1000).map(|index| stage(&format!("s{index}"))).collect();
        let wide: Vec<(usize, usize)> = (10..1000).map(|to| (to % 10, to)).collect();
        let folded = fold(&stages, &edges(&wide)).unwrap();
        assert_eq!(names(&folded), [("10 × exec", 10), ("990 × exec", 990)]);
        let chain: Vec<(usize, usize)> = (1..1000).map(|to| (to - 1, to)).collect();
        assert_eq!(fold(&stages, &edges(&chain)), None);
    }
}
