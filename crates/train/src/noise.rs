//! NEFTune (arXiv:2310.05914): uniform noise on the embeddings while training, of size `α/√(L·d)` for a sequence of `L`
//! tokens and `d` dimensions.

use burn::tensor::{Tensor, TensorData};
use gazal_lm::{Decoder, TokenBatch};

use crate::Sequence;

/// The noise of one step. A sequence's own follows from seed, step and ids, and not from where in a batch it stands.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// `neftune_noise_alpha`.
    pub alpha: f64,
    pub seed: u64,
    pub step: u64,
}

impl Noise {
    /// For a batch's embeddings, `[rows × width, hidden]`; none on padding.
    pub(crate) fn tensor(&self, sequences: &[&Sequence], batch: &TokenBatch, decoder: &Decoder) -> Tensor<2> {
        let hidden = decoder.config.hidden_size;
        let values = TensorData::new(self.like(sequences, batch, hidden), [batch.rows * batch.width, hidden]);
        Tensor::from_data(values, &decoder.device())
    }

    fn like(&self, sequences: &[&Sequence], batch: &TokenBatch, hidden: usize) -> Vec<f32> {
        let mut values = vec![0.0; batch.rows * batch.width * hidden];
        for (sequence, row) in sequences.iter().zip(values.chunks_mut(batch.width * hidden)) {
            let count = sequence.ids.len() * hidden;
            let scale = (self.alpha / (count as f64).sqrt()) as f32;
            let bits = self.bits(sequence, count);
            for (value, bits) in row.iter_mut().zip(bits.as_chunks::<4>().0) {
                *value = (u32::from_le_bytes(*bits) as f32 / (1_u64 << 31) as f32 - 1.0) * scale;
            }
        }
        values
    }

    fn bits(&self, sequence: &Sequence, count: usize) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_derive_key("gazal-pipe 2026 noise on embeddings v1");
        hasher.update(&self.seed.to_le_bytes()).update(&self.step.to_le_bytes());
        sequence.ids.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
        let mut bits = vec![0; 4 * count];
        hasher.finalize_xof().fill(&mut bits);
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_size_and_belongs_to_its_sequence() {
        let (a, b) = (Sequence::new((0..64).collect(), 1), Sequence::new((7..30).collect(), 1));
        let batch = |rows: &[&Sequence]| {
            let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
            TokenBatch::right_padded(&ids, 0)
        };
        let noise = Noise { alpha: 5.0, seed: 1, step: 3 };
        let both = noise.like(&[&a, &b], &batch(&[&a, &b]), 32);
        let alone = noise.like(&[&b], &batch(&[&b]), 32);
        assert_eq!(both[64 * 32..][..23 * 32], alone);
        assert!(both[(64 + 23) * 32..].iter().all(|&value| value == 0.0), "none on padding");
        let bound = 5.0 / (64.0_f32 * 32.0).sqrt();
        let squares: f32 = both[..64 * 32].iter().map(|value| value * value).sum();
        assert!(both[..64 * 32].iter().all(|value| value.abs() <= bound));
        assert!((squares / (64.0 * 32.0) / (bound * bound / 3.0) - 1.0).abs() < 0.1, "the spread of a uniform number");
        assert_ne!(both, Noise { step: 4, ..noise }.like(&[&a, &b], &batch(&[&a, &b]), 32));
    }
}
