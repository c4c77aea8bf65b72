//! Where boxes of a graph lie, and the lines between them: layers from top to bottom, after Sugiyama, Tagawa and Toda
//! (1981).
//!
//! 1. A node lies in the first layer below all that it needs that has room: layers have at most [`WIDEST`] nodes, so
//!    that a page need not be scrolled sideways (Coffman and Graham 1972).
//! 2. A line that passes layers takes a slot in each, so that it crosses no box; lines from one box share theirs and
//!    part where their ways do.
//! 3. Sweeps down and up order each layer by the barycentres of its neighbours; the order with fewest crossings stays.
//! 4. Sweeps move each layer towards its neighbours, as near as order and widths allow (least squares, by pooling
//!    adjacent violators), slots above all, so that long lines are straight (Gansner et al. 1993).
//!
//! Equal graphs give equal pictures: nothing is random and ties are decided by the order of the nodes.

use std::collections::HashMap;

/// A place in the picture, in pixels from its upper left.
pub(crate) type Point = (f64, f64);

pub(crate) const BOX: Point = (168.0, 44.0);
const WIDEST: usize = 5;
const GAP: Point = (26.0, 44.0);
const SLOT: f64 = 10.0;
const MARGIN: f64 = 12.0;
const SWEEPS: usize = 12;
/// Moving is slower to settle than ordering.
const MOVES: usize = 40;

pub(crate) struct Layout {
    /// The upper left of each node's box.
    pub boxes: Vec<Point>,
    /// For each edge, in their order: from the middle of a box's lower side to the middle of another's upper side, by
    /// way of slots, each entered at its top and left at its bottom.
    pub lines: Vec<Vec<Point>>,
    pub size: Point,
}

/// A node, or a slot of a line that passes.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    Node(usize),
    Slot,
}

struct Graph {
    items: Vec<Item>,
    /// Items of each layer, from left to right.
    layers: Vec<Vec<usize>>,
    /// Of each item, in the layer above and in that below.
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    /// The items of each edge, from its start to its end.
    chains: Vec<Vec<usize>>,
    /// The middle of each item.
    x: Vec<f64>,
}

/// Lays out `count` nodes; each edge goes from a smaller to a larger number.
pub(crate) fn layout(count: usize, edges: &[(usize, usize)]) -> Layout {
    let mut graph = Graph::new(count, edges);
    graph.order();
    graph.spread();
    graph.drawn(count)
}

/// The layer of each node.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut needs: Vec<Vec<usize>> = vec![Vec::new(); count];
    edges.iter().for_each(|&(from, to)| needs[to].push(from));
    let (mut layers, mut filled): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for own in &needs {
        let mut layer = own.iter().map(|&from| layers[from] + 1).max().unwrap_or(0);
        while filled.get(layer).is_some_and(|nodes| *nodes >= WIDEST) {
            layer += 1;
        }
        filled.resize(filled.len().max(layer + 1), 0);
        filled[layer] += 1;
        layers.push(layer);
    }
    layers
}

impl Graph {
    fn new(count: usize, edges: &[(usize, usize)]) -> Graph {
        let layer_of = layers(count, edges);
        let depth = layer_of.iter().max().map_or(0, |last| last + 1);
        let mut graph = Graph {
            items: Vec::new(),
            layers: vec![Vec::new(); depth],
            above: Vec::new(),
            below: Vec::new(),
            chains: Vec::new(),
            x: Vec::new(),
        };
        for (node, &layer) in layer_of.iter().enumerate() {
            graph.add(Item::Node(node), layer);
        }
        let mut slots: HashMap<(usize, usize), usize> = HashMap::new();
        for &(from, to) in edges {
            let mut chain = vec![from];
            for layer in layer_of[from] + 1..layer_of[to] {
                chain.push(*slots.entry((from, layer)).or_insert_with(|| graph.add(Item::Slot, layer)));
            }
            chain.push(to);
            graph.connect(&chain);
            graph.chains.push(chain);
        }
        graph
    }

    fn connect(&mut self, chain: &[usize]) {
        for pair in chain.windows(2).filter(|pair| !self.below[pair[0]].contains(&pair[1])).collect::<Vec<_>>() {
            self.below[pair[0]].push(pair[1]);
            self.above[pair[1]].push(pair[0]);
        }
    }

    fn add(&mut self, item: Item, layer: usize) -> usize {
        let index = self.items.len();
        self.items.push(item);
        self.above.push(Vec::new());
        self.below.push(Vec::new());
        self.x.push(0.0);
        self.layers[layer].push(index);
        index
    }

    fn width(&self, item: usize) -> f64 {
        if self.items[item] == Item::Slot { SLOT } else { BOX.0 }
    }

    /// How much a line between two items should be straight.
    fn weight(&self, a: usize, b: usize) -> f64 {
        match [a, b].iter().filter(|item| self.items[**item] == Item::Slot).count() {
            0 => 1.0,
            1 => 2.0,
            _ => 8.0,
        }
    }

    /// Orders every layer for few crossings.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            let mut visit: Vec<usize> = (0..self.layers.len()).collect();
            if !down {
                visit.reverse();
            }
            visit.into_iter().for_each(|layer| self.order_layer(layer, down));
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    fn order_layer(&mut self, layer: usize, down: bool) {
        let places = self.places();
        let neighbours = if down { &self.above } else { &self.below };
        let wish = |item: usize| {
            let near = neighbours[item].iter().map(|&other| places[other]);
            if near.len() == 0 { places[item] } else { near.clone().sum::<f64>() / near.len() as f64 }
        };
        let mut wishes: Vec<(f64, usize)> = self.layers[layer].iter().map(|&item| (wish(item), item)).collect();
        wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.layers[layer] = wishes.into_iter().map(|(_, item)| item).collect();
    }

    /// The place of each item in its layer, between 0 and 1, so that layers of different lengths compare.
    fn places(&self) -> Vec<f64> {
        let mut places = vec![0.0; self.items.len()];
        for layer in &self.layers {
            for (place, &item) in layer.iter().enumerate() {
                places[item] = (place as f64 + 0.5) / layer.len() as f64;
            }
        }
        places
    }

    fn crossings(&self) -> usize {
        let places = self.places();
        let between = |layer: &Vec<usize>| {
            let edges: Vec<(f64, f64)> = layer
                .iter()
                .flat_map(|&item| self.below[item].iter().map(move |&other| (item, other)))
                .map(|(item, other)| (places[item], places[other]))
                .collect();
            let crosses = |a: &(f64, f64), b: &(f64, f64)| (a.0 - b.0) * (a.1 - b.1) < 0.0;
            (0..edges.len())
                .map(|at| edges[at..].iter().filter(|other| crosses(&edges[at], other)).count())
                .sum::<usize>()
        };
        self.layers.iter().map(between).sum()
    }

    /// Gives every item its place from left to right.
    fn spread(&mut self) {
        for layer in 0..self.layers.len() {
            self.place(layer, &|_| Vec::new());
        }
        for sweep in 0..MOVES {
            let mut visit: Vec<usize> = (0..self.layers.len()).collect();
            if sweep % 2 == 1 {
                visit.reverse();
            }
            for layer in visit {
                let last = sweep + 2 >= MOVES;
                let (above, below) = (self.above.clone(), self.below.clone());
                self.place(layer, &|item| match (last, sweep % 2) {
                    (true, _) => [above[item].as_slice(), &below[item]].concat(),
                    (false, 0) => above[item].clone(),
                    _ => below[item].clone(),
                });
            }
        }
    }

    /// Moves a layer's items towards the middles of these neighbours; one without any stays.
    fn place(&mut self, layer: usize, near: &dyn Fn(usize) -> Vec<usize>) {
        let items = self.layers[layer].clone();
        let pull = |&item: &usize| {
            let near = near(item);
            let weights: f64 = near.iter().map(|&other| self.weight(item, other)).sum();
            let sum: f64 = near.iter().map(|&other| self.weight(item, other) * self.x[other]).sum();
            if near.is_empty() { (self.x[item], 1.0) } else { (sum / weights, weights) }
        };
        let apart = |pair: &[usize]| (self.width(pair[0]) + self.width(pair[1])) / 2.0 + GAP.0;
        let pulls: Vec<(f64, f64)> = items.iter().map(pull).collect();
        let placed = nearest(&pulls, &items.windows(2).map(apart).collect::<Vec<_>>());
        items.into_iter().zip(placed).for_each(|(item, x)| self.x[item] = x);
    }

    fn drawn(self, count: usize) -> Layout {
        let left =
            (0..self.items.len()).map(|item| self.x[item] - self.width(item) / 2.0).fold(f64::INFINITY, f64::min);
        let right = (0..self.items.len()).map(|item| self.x[item] + self.width(item) / 2.0).fold(left, f64::max);
        let middle = |item: usize| self.x[item] - left + MARGIN;
        let mut top = vec![0.0; self.items.len()];
        for (layer, items) in self.layers.iter().enumerate() {
            items.iter().for_each(|&item| top[item] = MARGIN + layer as f64 * (BOX.1 + GAP.1));
        }
        let boxes = (0..count).map(|node| (middle(node) - BOX.0 / 2.0, top[node])).collect();
        let line = |chain: &Vec<usize>| {
            let ends = chain.iter().flat_map(|&item| [(middle(item), top[item]), (middle(item), top[item] + BOX.1)]);
            let points: Vec<Point> = ends.collect();
            points[1..points.len() - 1].to_vec()
        };
        let height = self.layers.len() as f64 * (BOX.1 + GAP.1) - GAP.1 + 2.0 * MARGIN;
        let lines = self.chains.iter().map(line).collect();
        Layout { boxes, lines, size: (right - left + 2.0 * MARGIN, height) }
    }
}

/// The places nearest to the wishes (weighted least squares) that are so far apart: without the distances a monotone
/// regression, solved by pooling adjacent violators.
fn nearest(wishes: &[(f64, f64)], apart: &[f64]) -> Vec<f64> {
    let mut offset = 0.0;
    let mut offsets = vec![0.0; wishes.len()];
    for (index, distance) in apart.iter().enumerate() {
        offset += distance;
        offsets[index + 1] = offset;
    }
    // Weighted sum, weight and length of each pool.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (&(wish, weight), offset) in wishes.iter().zip(&offsets) {
        let mut pool = ((wish - offset) * weight, weight, 1);
        while let Some(last) = pools.pop_if(|last| last.0 / last.1 > pool.0 / pool.1) {
            pool = (pool.0 + last.0, pool.1 + last.1, pool.2 + last.2);
        }
        pools.push(pool);
    }
    let means = pools.into_iter().flat_map(|(sum, weight, length)| std::iter::repeat_n(sum / weight, length));
    means.zip(offsets).map(|(mean, offset)| mean + offset).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn overlap(a: Point, b: Point) -> bool {
        let near = |a: f64, b: f64, size: f64| (a - b).abs() < size - 1e-6;
        near(a.0, b.0, BOX.0) && near(a.1, b.1, BOX.1)
    }

    /// Whether an upright piece of a line runs through a box.
    fn pierces(piece: &[Point], corner: Point) -> bool {
        let [(x, from), (_, to)] = [piece[0], piece[1]];
        x > corner.0 && x < corner.0 + BOX.0 && from < corner.1 + BOX.1 - 1e-6 && to > corner.1 + 1e-6
    }

    fn check(count: usize, edges: &[(usize, usize)]) {
        let laid = layout(count, edges);
        for (index, &corner) in laid.boxes.iter().enumerate() {
            assert!(corner.0 >= 0.0 && corner.0 + BOX.0 <= laid.size.0 && corner.1 + BOX.1 <= laid.size.1);
            assert!(laid.boxes[..index].iter().all(|&other| !overlap(corner, other)), "{index} lies on another");
        }
        for (&(from, to), line) in edges.iter().zip(&laid.lines) {
            let (start, end) = (laid.boxes[from], laid.boxes[to]);
            let near = |a: Point, b: Point| (a.0 - b.0).abs() < 1e-6 && (a.1 - b.1).abs() < 1e-6;
            assert!(near(line[0], (start.0 + BOX.0 / 2.0, start.1 + BOX.1)), "{from} -> {to} begins elsewhere");
            assert!(near(*line.last().unwrap(), (end.0 + BOX.0 / 2.0, end.1)), "{from} -> {to} ends elsewhere");
            assert!(line.windows(2).all(|pair| pair[1].1 > pair[0].1), "{from} -> {to} goes up");
            for slot in line[1..line.len() - 1].chunks(2) {
                assert!(laid.boxes.iter().all(|&corner| !pierces(slot, corner)), "{from} -> {to} runs through a box");
            }
        }
        let again = layout(count, edges);
        assert!(laid.boxes == again.boxes && laid.lines == again.lines, "a second time it comes out otherwise");
    }

    /// Edges from smaller to larger numbers, each once.
    fn graphs() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
        (1_usize..40).prop_flat_map(|count| {
            let edge = (0..count, 0..count).prop_filter_map("no edge", |(a, b)| (a < b).then_some((a, b)));
            (Just(count), proptest::collection::btree_set(edge, 0..count.min(if count > 1 { 60 } else { 1 })))
                .prop_map(|(count, edges)| (count, edges.into_iter().collect()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn boxes_never_overlap_and_lines_connect_them((count, edges) in graphs()) {
            check(count, &edges);
        }
    }

    #[test]
    fn nothing_one_thing_and_much_of_it() {
        assert_eq!(layout(0, &[]).boxes.len(), 0);
        check(1, &[]);
        check(40, &(1..40).map(|to| (0, to)).collect::<Vec<_>>());
        check(40, &(1..40).map(|to| (to - 1, to)).collect::<Vec<_>>());
    }

    #[test]
    fn a_tree_has_no_crossings_and_a_chain_is_straight() {
        let mut tree = Graph::new(7, &[(0, 1), (0, 2), (1, 5), (1, 6), (2, 3), (2, 4)]);
        tree.order();
        assert_eq!(tree.crossings(), 0);
        let chain = layout(4, &[(0, 1), (1, 2), (2, 3)]);
        assert!(chain.boxes.iter().all(|corner| corner.0 == chain.boxes[0].0));
    }

    #[test]
    fn places_are_as_near_as_they_can_be() {
        let alike = |wishes: &[f64]| wishes.iter().map(|&wish| (wish, 1.0)).collect::<Vec<_>>();
        assert_eq!(nearest(&alike(&[0.0, 10.0]), &[2.0]), [0.0, 10.0]);
        assert_eq!(nearest(&alike(&[5.0, 5.0, 5.0]), &[2.0, 2.0]), [3.0, 5.0, 7.0]);
        assert_eq!(nearest(&alike(&[9.0, 1.0]), &[2.0]), [4.0, 6.0]);
        assert_eq!(nearest(&[(5.0, 3.0), (5.0, 1.0)], &[4.0]), [4.0, 8.0], "what weighs more moves less");
    }
}
