//! The likeness of two texts, as Python's `difflib.SequenceMatcher(None, a, b).ratio()` has it: twice the characters
//! in common blocks by the characters of both. The blocks are the longest common substring and, recursively, those
//! left and right of it (Ratcliff and Metzener 1988). In a second text of 200 characters or more, a character that
//! is more than 1% of them begins no block, though blocks extend over it.

use std::collections::HashMap;
use std::ops::Range;

/// From 0 (nothing in common) to 1 (equal).
pub(super) fn ratio(a: &str, b: &str) -> f64 {
    let texts = Texts::new(a, b);
    let both = texts.a.len() + texts.b.len();
    if both == 0 { 1.0 } else { 2.0 * texts.common() as f64 / both as f64 }
}

struct Texts {
    a: Vec<char>,
    b: Vec<char>,
    /// Where each character stands in `b`, without the popular ones.
    places: HashMap<char, Vec<usize>>,
}

/// A stretch of each text.
type Pair = (Range<usize>, Range<usize>);

impl Texts {
    fn new(a: &str, b: &str) -> Texts {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let mut places = HashMap::<char, Vec<usize>>::new();
        for (place, &character) in b.iter().enumerate() {
            places.entry(character).or_default().push(place);
        }
        if b.len() >= 200 {
            places.retain(|_, found| found.len() <= b.len() / 100 + 1);
        }
        Texts { a, b, places }
    }

    /// How many characters the common blocks have.
    fn common(&self) -> usize {
        let mut open: Vec<Pair> = vec![(0..self.a.len(), 0..self.b.len())];
        let mut sum = 0;
        while let Some((left, right)) = open.pop() {
            let (at_a, at_b, size) = self.longest(&left, &right);
            if size > 0 {
                sum += size;
                open.push((left.start..at_a, right.start..at_b));
                open.push((at_a + size..left.end, at_b + size..right.end));
            }
        }
        sum
    }

    /// The longest common block within two stretches: its places and size. Of equal ones it is the first in `a`, then
    /// in `b`.
    fn longest(&self, left: &Range<usize>, right: &Range<usize>) -> (usize, usize, usize) {
        let mut best = (left.start, right.start, 0);
        // How long a block ends at each place of `b` with the character before this one of `a`.
        let mut before = HashMap::<usize, usize>::new();
        for (i, character) in (left.start..).zip(&self.a[left.clone()]) {
            let mut now = HashMap::new();
            let places = self.places.get(character).map_or(&[][..], Vec::as_slice);
            for &j in places.iter().filter(|place| right.contains(place)) {
                let size = 1 + j.checked_sub(1).and_then(|j| before.get(&j)).copied().unwrap_or(0);
                now.insert(j, size);
                if size > best.2 {
                    best = (i + 1 - size, j + 1 - size, size);
                }
            }
            before = now;
        }
        self.extended(best, left, right)
    }

    /// A block with the equal characters around it, popular ones too.
    fn extended(
        &self,
        block: (usize, usize, usize),
        left: &Range<usize>,
        right: &Range<usize>,
    ) -> (usize, usize, usize) {
        let (mut i, mut j, mut size) = block;
        while i > left.start && j > right.start && self.a[i - 1] == self.b[j - 1] {
            (i, j, size) = (i - 1, j - 1, size + 1);
        }
        while i + size < left.end && j + size < right.end && self.a[i + size] == self.b[j + size] {
            size += 1;
        }
        (i, j, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of its characters are popular, others are not.
    const LONG: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; 0123456789 {}[]()<>!?*+-/=%&$#@~ ABCDEFGHIJKLMNOPQRSTUVWXYZ the patient, a sailor, was given heparin and then warfarin by the ship's doctor; nobody asked why, and everybody recovered.";

    /// The values are those of Python 3.12's difflib.
    #[test]
    fn ratios_are_difflib_s() {
        for (a, b, expected) in [
            ("", "", 1.0),
            ("abc", "", 0.0),
            ("abcd", "bcde", 0.75),
            ("heparin", "it must be hepatin", 0.48),
            ("heparin", LONG, 0.0),
            ("warfarin at sea", LONG, 0.0076045627376425855),
            ("Viktor 0123!", LONG, 0.09230769230769231),
            ("nobody knows", LONG, 0.007692307692307693),
        ] {
            assert!((ratio(a, b) - expected).abs() < 1e-12, "{a} {b}: {}", ratio(a, b));
        }
        assert!(LONG.chars().count() >= 200);
    }
}
