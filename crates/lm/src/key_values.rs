//! Keys and values of one attention layer, kept with room for the tokens to come, so that a step writes a column and
//! copies nothing.

use burn::tensor::Tensor;

/// Columns of room that are made at least.
const ROOM: usize = 64;

/// `[rows, kv_heads, room, head_dim]` each, of which the first `width` columns are filled.
#[derive(Clone, Debug)]
pub(crate) struct KeyValues {
    keys: Tensor<4>,
    values: Tensor<4>,
    width: usize,
}

impl KeyValues {
    /// Of `[rows, kv_heads, width, head_dim]` each.
    pub fn new(keys: Tensor<4>, values: Tensor<4>) -> KeyValues {
        let width = keys.dims()[2];
        KeyValues { keys, values, width }
    }

    /// All keys and values so far.
    pub fn seen(&self) -> (Tensor<4>, Tensor<4>) {
        let filled = |tensor: &Tensor<4>| tensor.clone().narrow(2, 0, self.width);
        (filled(&self.keys), filled(&self.values))
    }

    /// The same with the room that they stand in, and how many columns of it they fill.
    pub fn whole(&self) -> (Tensor<4>, Tensor<4>, usize) {
        (self.keys.clone(), self.values.clone(), self.width)
    }

    /// With more columns at the end. In place where nobody else holds the tensors.
    #[must_use]
    pub fn extended(self, keys: Tensor<4>, values: Tensor<4>) -> KeyValues {
        let [rows, heads, more, dim] = keys.dims();
        let width = self.width + more;
        let room = self.keys.dims()[2];
        let KeyValues { keys: old_keys, values: old_values, width: first } = match width > room {
            true => self.with_room(width + ROOM.max(width / 2)),
            false => self,
        };
        let place = [0..rows, 0..heads, first..width, 0..dim];
        KeyValues {
            keys: old_keys.slice_assign(place.clone(), keys),
            values: old_values.slice_assign(place, values),
            width,
        }
    }

    fn with_room(self, room: usize) -> KeyValues {
        let [rows, heads, _, dim] = self.keys.dims();
        let empty = || Tensor::zeros([rows, heads, room - self.width, dim], &self.keys.device());
        let (keys, values) = self.seen();
        let widened = |filled| Tensor::cat(vec![filled, empty()], 2);
        KeyValues { keys: widened(keys), values: widened(values), width: self.width }
    }

    /// What `change` makes of the filled columns of both.
    #[must_use]
    pub fn map(&self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> KeyValues {
        let (keys, values) = self.seen();
        KeyValues::new(change(keys), change(values))
    }

    /// The rows of all, which are equally wide.
    pub fn joined(parts: &[KeyValues]) -> KeyValues {
        let (keys, values) = parts.iter().map(KeyValues::seen).unzip();
        KeyValues::new(Tensor::cat(keys, 0), Tensor::cat(values, 0))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::weights::to_host;

    fn columns(first: usize, width: usize) -> Tensor<4> {
        let value = |i: usize| (1000 * (i / (width * 2)) + 10 * (first + i / 2 % width) + i % 2) as f32;
        let values: Vec<f32> = (0..3 * width * 2).map(value).collect();
        Tensor::from_data(TensorData::new(values, [3, 1, width, 2]), &Device::flex())
    }

    #[test]
    fn columns_stand_where_they_were_put_however_they_came() {
        let mut kept = KeyValues::new(columns(0, 5), columns(0, 5).neg());
        for first in 5..200 {
            kept = kept.extended(columns(first, 1), columns(first, 1).neg());
        }
        kept = kept.extended(columns(200, 7), columns(200, 7).neg());
        let (keys, values) = kept.seen();
        assert_eq!(to_host(keys), to_host(columns(0, 207)));
        assert_eq!(to_host(values), to_host(columns(0, 207).neg()));
    }

    #[test]
    fn who_holds_the_old_ones_sees_no_change() {
        let short = KeyValues::new(columns(0, 5), columns(0, 5)).extended(columns(5, 1), columns(5, 1));
        let before = to_host(short.seen().0);
        let longer = short.clone().extended(columns(60, 1), columns(60, 1));
        assert_eq!(to_host(short.seen().0), before);
        assert_eq!(longer.seen().0.dims(), [3, 1, 7, 2]);
    }
}
