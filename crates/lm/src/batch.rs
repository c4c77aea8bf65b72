//! Token ids of several sequences in one rectangle.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Rows of equal width. Real tokens of a row are contiguous; padding stands on one side of them.
///
/// Padding on the right needs no mask under causal attention: a real position never sees what follows it.
#[derive(Clone, Debug)]
pub struct TokenBatch {
    /// `[rows × width]`, row-major.
    pub ids: Vec<u32>,
    pub rows: usize,
    pub width: usize,
    /// Padding before the first real token, by row.
    pub left_pad: Vec<usize>,
    /// The columns at which documents begin that share a row, by row, the first of them left out. Empty where every row is
    /// one document. No position sees what stands before its document, and each document counts its positions anew.
    pub documents: Vec<Vec<usize>>,
}

impl TokenBatch {
    /// Pads on the right, for training and scoring.
    pub fn right_padded<T: AsRef<[u32]>>(rows: &[T], pad: u32) -> TokenBatch {
        TokenBatch::padded(rows, pad, false)
    }

    /// Pads on the left, for generation.
    pub fn left_padded<T: AsRef<[u32]>>(rows: &[T], pad: u32) -> TokenBatch {
        TokenBatch::padded(rows, pad, true)
    }

    fn padded<T: AsRef<[u32]>>(rows: &[T], pad: u32, left: bool) -> TokenBatch {
        let width = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * width);
        let mut left_pad = Vec::with_capacity(rows.len());
        for row in rows {
            let padding = std::iter::repeat_n(pad, width - row.as_ref().len());
            if left {
                left_pad.push(padding.len());
                ids.extend(padding);
                ids.extend_from_slice(row.as_ref());
            } else {
                left_pad.push(0);
                ids.extend_from_slice(row.as_ref());
                ids.extend(padding);
            }
        }
        TokenBatch { ids, rows: rows.len(), width, left_pad, documents: Vec::new() }
    }

    /// For the columns of each row, the first column of their document; of columns `start` and on. One row speaks for all
    /// where they are alike.
    pub(crate) fn origins(&self, start: usize) -> Vec<Vec<usize>> {
        let mut origins: Vec<Vec<usize>> = self.left_pad.iter().map(|&pad| vec![pad; self.width]).collect();
        for (row, documents) in origins.iter_mut().zip(&self.documents) {
            for &first in documents {
                row[first - start..].fill(first);
            }
        }
        if origins.windows(2).all(|pair| pair[0] == pair[1]) {
            origins.truncate(1);
        }
        origins
    }

    /// `[rows × width]`.
    pub fn tensor(&self, device: &Device) -> Tensor<1, Int> {
        indices(self.ids.iter().map(|&id| id as usize), device)
    }
}

/// A rank-1 index tensor.
pub fn indices(values: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_on_either_side() {
        let rows: [&[u32]; 2] = [&[1, 2, 3], &[4]];
        let right = TokenBatch::right_padded(&rows, 9);
        assert_eq!((right.ids, right.rows, right.width, right.left_pad), (vec![1, 2, 3, 4, 9, 9], 2, 3, vec![0, 0]));
        let left = TokenBatch::left_padded(&rows, 9);
        assert_eq!((left.ids, left.left_pad), (vec![1, 2, 3, 9, 9, 4], vec![0, 2]));
        let none = TokenBatch::right_padded::<Vec<u32>>(&[], 9);
        assert_eq!((none.ids.len(), none.rows, none.width), (0, 0, 0));
    }

    /// The position of each column, which it counts from where its document begins.
    fn positions(batch: &TokenBatch) -> Vec<Vec<usize>> {
        let count = |origins: Vec<usize>| (0_usize..).zip(origins).map(|(column, origin)| column - origin).collect();
        batch.origins(0).into_iter().map(count).collect()
    }

    #[test]
    fn every_document_of_a_row_counts_from_zero() {
        let packed = |rows: &[&[u32]], documents: &[&[usize]]| TokenBatch {
            documents: documents.iter().map(|starts| starts.to_vec()).collect(),
            ..TokenBatch::right_padded(rows, 0)
        };
        assert_eq!(positions(&packed(&[&[1, 2, 3, 4, 5]], &[&[3]])), [[0, 1, 2, 0, 1]]);
        let two = packed(&[&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4]], &[&[1, 3], &[2]]);
        assert_eq!(positions(&two), [[0, 0, 1, 0, 1, 2], [0, 1, 0, 1, 2, 3]]);
        assert_eq!(positions(&packed(&[&[1, 2, 3], &[4]], &[])), [[0, 1, 2]], "one row speaks for both");
    }
}
