//! Which actions' outputs to let go, when there is not space for all.
//!
//! What an action is worth is the time to do it again over the bytes that only it holds: evicting one of two owners
//! frees nothing. The cheapest goes first; whoever is then left as the only owner of a blob is worth less, and is judged
//! again. Where only shared blobs are left, the action that is cheapest over its share of them goes, which makes
//! another the only owner.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// An action, and which blobs it needs.
pub(crate) struct Claim {
    /// To do it again.
    pub seconds: f64,
    /// Places in the table of blobs, each once.
    pub blobs: Vec<usize>,
    /// It must stay.
    pub kept: bool,
}

/// The claims to give up, in this order, so that at least `excess` bytes become free, or as many as can. `sizes` are
/// those of the blobs, and `held` says which of them stay in any case.
pub(crate) fn choose(claims: &[Claim], sizes: &[u64], held: &[bool], excess: u64) -> Vec<usize> {
    let mut ledger = Ledger::new(claims, sizes, held);
    let mut chosen = Vec::new();
    while ledger.freed < excess {
        let Some(next) = ledger.cheapest().or_else(|| ledger.cheapest_sharer()) else { break };
        ledger.evict(next);
        chosen.push(next);
    }
    chosen
}

struct Ledger<'a> {
    claims: &'a [Claim],
    sizes: &'a [u64],
    owners: Vec<Vec<usize>>,
    /// Owners that are left; a blob that stays in any case has one more.
    counts: Vec<usize>,
    /// By claim: the bytes that it alone holds.
    alone: Vec<u64>,
    evicted: Vec<bool>,
    /// Cheapest first. What has become cheaper is in it more than once, and only the last counts.
    queue: BinaryHeap<Reverse<(Worth, usize, u64)>>,
    freed: u64,
}

impl<'a> Ledger<'a> {
    fn new(claims: &'a [Claim], sizes: &'a [u64], held: &[bool]) -> Ledger<'a> {
        let mut owners = vec![Vec::new(); sizes.len()];
        for (index, claim) in claims.iter().enumerate() {
            claim.blobs.iter().for_each(|&blob| owners[blob].push(index));
        }
        let counts = owners.iter().zip(held).map(|(owners, &held)| owners.len() + usize::from(held)).collect();
        let (alone, evicted) = (vec![0; claims.len()], vec![false; claims.len()]);
        let mut ledger = Ledger { claims, sizes, owners, counts, alone, evicted, queue: BinaryHeap::new(), freed: 0 };
        for (blob, &size) in sizes.iter().enumerate() {
            if let ([owner], 1) = (ledger.owners[blob].as_slice(), ledger.counts[blob]) {
                ledger.alone[*owner] += size;
            }
        }
        (0..claims.len()).for_each(|index| ledger.enqueue(index));
        ledger
    }

    fn enqueue(&mut self, index: usize) {
        let (claim, alone) = (&self.claims[index], self.alone[index]);
        if !claim.kept && alone > 0 {
            self.queue.push(Reverse((Worth::of(claim.seconds, alone as f64), index, alone)));
        }
    }

    /// Among those that free something.
    fn cheapest(&mut self) -> Option<usize> {
        while let Some(Reverse((_, index, alone))) = self.queue.pop() {
            if !self.evicted[index] && alone == self.alone[index] {
                return Some(index);
            }
        }
        None
    }

    /// Among those that share all they have, with others that may go too.
    fn cheapest_sharer(&self) -> Option<usize> {
        let candidates = (0..self.claims.len()).filter(|&index| !self.claims[index].kept && !self.evicted[index]);
        let judged = candidates.map(|index| (index, self.share(index))).filter(|(_, share)| *share > 0.0);
        judged.min_by_key(|(index, share)| Worth::of(self.claims[*index].seconds, *share)).map(|(index, _)| index)
    }

    /// Its part of the bytes that would be free if all their owners went.
    fn share(&self, index: usize) -> f64 {
        let part = |&blob: &usize| {
            let left = self.owners[blob].iter().filter(|&&owner| !self.evicted[owner]);
            let may_go = left.clone().all(|&owner| !self.claims[owner].kept) && left.count() == self.counts[blob];
            if may_go { self.sizes[blob] as f64 / self.counts[blob] as f64 } else { 0.0 }
        };
        self.claims[index].blobs.iter().map(part).sum()
    }

    fn evict(&mut self, index: usize) {
        self.evicted[index] = true;
        for &blob in &self.claims[index].blobs {
            self.counts[blob] -= 1;
            match self.counts[blob] {
                0 => self.freed += self.sizes[blob],
                1 => self.leave(blob),
                _ => {}
            }
        }
    }

    /// The only owner that is left of a blob, if it is an action, holds it alone from now on.
    fn leave(&mut self, blob: usize) {
        let last = self.owners[blob].iter().copied().find(|&owner| !self.evicted[owner]);
        if let Some(owner) = last {
            self.alone[owner] += self.sizes[blob];
            self.enqueue(owner);
        }
    }
}

/// Seconds to make again a byte; the order of numbers, whatever they are.
#[derive(Clone, Copy, PartialEq)]
struct Worth(f64);

impl Worth {
    fn of(seconds: f64, bytes: f64) -> Worth {
        Worth(seconds / bytes)
    }
}

impl Eq for Worth {}

impl PartialOrd for Worth {
    fn partial_cmp(&self, other: &Worth) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worth {
    fn cmp(&self, other: &Worth) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn claim(seconds: f64, blobs: &[usize]) -> Claim {
        Claim { seconds, blobs: blobs.to_vec(), kept: false }
    }

    fn kept(blobs: &[usize]) -> Claim {
        Claim { kept: true, ..claim(0.0, blobs) }
    }

    #[test]
    fn the_cheapest_per_byte_goes_first_and_no_more_than_needed() {
        let claims = [claim(10.0, &[0]), claim(10.0, &[1]), claim(1.0, &[2])];
        let sizes = [100, 1000, 50];
        assert_eq!(choose(&claims, &sizes, &[false; 3], 1), [1]);
        assert_eq!(choose(&claims, &sizes, &[false; 3], 1001), [1, 2]);
        assert_eq!(choose(&claims, &sizes, &[false; 3], 5000), [1, 2, 0]);
        assert_eq!(choose(&claims, &sizes, &[false; 3], 0), [0; 0]);
    }

    #[test]
    fn one_of_two_owners_frees_nothing_and_makes_the_other_cheaper() {
        // The big blob 0 belongs to both: 1 is worth 10 s over 10 bytes, and 10 s over 1010 once 0 is gone.
        let claims = [claim(1.0, &[0, 1]), claim(10.0, &[0, 2]), claim(1.0, &[3])];
        let sizes = [1000, 10, 10, 50];
        assert_eq!(choose(&claims, &sizes, &[false; 4], 60), [2, 0]);
        assert_eq!(choose(&claims, &sizes, &[false; 4], 61), [2, 0, 1]);
    }

    #[test]
    fn those_that_share_everything_go_together_at_last() {
        let claims = [claim(5.0, &[0]), claim(3.0, &[0]), claim(100.0, &[1])];
        assert_eq!(choose(&claims, &[1000, 1], &[false; 2], 1000), [2, 1, 0]);
    }

    /// What is left needs, counted anew from the claims that are left.
    fn freed(claims: &[Claim], sizes: &[u64], held: &[bool], chosen: &[usize]) -> u64 {
        let left = (0..claims.len()).filter(|index| !chosen.contains(index));
        let needed: Vec<usize> = left.flat_map(|index| claims[index].blobs.clone()).collect();
        let gone = |blob: &usize| chosen.iter().any(|&index| claims[index].blobs.contains(blob));
        (0..sizes.len()).filter(|blob| gone(blob) && !needed.contains(blob) && !held[*blob]).map(|b| sizes[b]).sum()
    }

    proptest! {
        #[test]
        fn enough_goes_where_it_can_and_nothing_that_is_kept(
            given in vec((0.0..10.0, btree_set(0..12_usize, 0..6), any::<bool>()), 0..10),
            sizes in vec(0..100_u64, 12),
            held in vec(any::<bool>(), 12),
            excess in 0..600_u64,
        ) {
            let claim = |(seconds, blobs, kept): (f64, BTreeSet<usize>, bool)| {
                Claim { seconds, blobs: blobs.into_iter().collect(), kept }
            };
            let claims: Vec<Claim> = given.into_iter().map(claim).collect();
            let chosen = choose(&claims, &sizes, &held, excess);
            prop_assert!(chosen.iter().all(|&index| !claims[index].kept));
            prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
            let most: Vec<usize> = (0..claims.len()).filter(|&index| !claims[index].kept).collect();
            let most = freed(&claims, &sizes, &held, &most);
            prop_assert!(freed(&claims, &sizes, &held, &chosen) >= excess.min(most));
            let before = chosen.split_last().map(|(_, rest)| freed(&claims, &sizes, &held, rest));
            prop_assert!(before.is_none_or(|before| before < excess), "the last was needed");
        }
    }

    #[test]
    fn what_is_kept_or_held_stays_with_all_it_has() {
        let claims = [claim(1.0, &[0]), kept(&[0, 1]), claim(1.0, &[2]), claim(9.0, &[3])];
        assert_eq!(choose(&claims, &[10; 4], &[false, false, true, false], 1000), [3]);
    }
}
