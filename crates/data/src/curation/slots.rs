//! Which rows have a hash, in a hash table of four bytes a slot.
//!
//! A slot is the index of a row and, in the bits that indices of this size leave, bits of its hash; that they are equal
//! lets one row in a few hundred pass that has another hash, so what is found must be compared. Open addressing with
//! linear probing (Knuth, "The Art of Computer Programming", volume 3, section 6.4), filled to nine tenths. Hashes are
//! not kept, so a table that is full cannot grow: a larger one is made and filled anew, a quarter larger, which is 4.4 to
//! 5.6 bytes a row.

/// See [`Slots::with_room`].
pub struct Slots {
    /// Nothing, or an index and one below bits of a hash.
    slots: Vec<u32>,
    /// Of what is an index in a slot.
    mask: u32,
    room: usize,
    rows: usize,
}

/// Where tables begin.
const LEAST: usize = 1024;

impl Slots {
    pub fn new() -> Slots {
        Slots::with_room(LEAST)
    }

    /// For so many rows with indices from 0.
    pub fn with_room(rows: usize) -> Slots {
        let bits = usize::BITS - rows.leading_zeros();
        let mask = u32::MAX.checked_shr(u32::BITS.saturating_sub(bits)).unwrap_or(u32::MAX);
        Slots { slots: vec![0; rows + rows / 9 + 1], mask, room: rows, rows: 0 }
    }

    pub fn is_full(&self) -> bool {
        self.rows == self.room
    }

    /// The room of the table that comes after this one.
    pub fn next_room(&self) -> usize {
        self.room + self.room / 4
    }

    /// Adds a row to a table that is not full.
    pub fn insert(&mut self, hash: u64, index: u32) {
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = self.after(at);
        }
        self.slots[at] = (hash as u32 & !self.mask) | (index + 1);
        self.rows += 1;
    }

    /// Rows that may have this hash, among them all that have it.
    pub fn find(&self, hash: u64) -> impl Iterator<Item = u32> {
        let places = std::iter::successors(Some(self.home(hash)), |at| Some(self.after(*at)));
        let cluster = places.map(|at| self.slots[at]).take_while(|slot| *slot != 0);
        cluster.filter(move |slot| (slot ^ hash as u32) & !self.mask == 0).map(|slot| (slot & self.mask) - 1)
    }

    /// By the upper bits of the hash, of which the lower are in the slot.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::mix;

    #[test]
    fn what_is_in_a_full_table_is_found_and_little_else() {
        for rows in [1, 7, 1024, 100_000] {
            let mut slots = Slots::with_room(rows);
            for index in 0..rows {
                assert!(!slots.is_full());
                slots.insert(mix(index as u64 / 2), index as u32);
            }
            assert!(slots.is_full() && slots.next_room() >= rows);
            let mut others = 0;
            for index in 0..rows as u32 {
                let found: Vec<u32> = slots.find(mix(u64::from(index) / 2)).collect();
                assert!(found.contains(&index), "{index} of {rows}");
                others += found.iter().filter(|other| **other / 2 != index / 2).count();
            }
            let strange: usize = (0..rows as u64).map(|row| slots.find(mix(!row)).count()).sum();
            assert!(others + strange <= rows / 100, "{others} and {strange} of {rows}");
        }
    }
}
