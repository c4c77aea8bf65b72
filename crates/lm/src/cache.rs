//! What a decoder remembers of sequences that are being generated.

use burn::tensor::{Device, Tensor};

use crate::batch::indices;
use crate::delta::DeltaState;
use crate::layer::LayerCache;

/// Keys and values, or states, of all layers.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) layers: Vec<LayerCache>,
    /// Columns so far, padding included.
    pub width: usize,
    pub left_pad: Vec<usize>,
}

impl Cache {
    pub fn new(layers: usize) -> Cache {
        Cache { layers: vec![LayerCache::default(); layers], width: 0, left_pad: Vec::new() }
    }

    /// Keeps `rows` in that order; a row may appear several times (the completions of one prompt).
    pub fn select(&mut self, rows: &[usize], device: &Device) {
        let index = indices(rows.iter().copied(), device);
        for layer in &mut self.layers {
            if let Some(kept) = &mut layer.attention {
                *kept = kept.map(|tensor| tensor.select(0, index.clone()));
            }
            if let Some(state) = &mut layer.delta {
                state.window = state.window.clone().select(0, index.clone());
                state.memory = state.memory.clone().select(0, index.clone());
            }
        }
        self.left_pad = rows.iter().map(|&row| self.left_pad[row]).collect();
    }
}

impl Cache {
    /// Lets go of columns that are padding in every row.
    pub fn trim(&mut self) {
        let empty = self.left_pad.iter().copied().min().unwrap_or(0);
        if empty == 0 {
            return;
        }
        self.width -= empty;
        self.left_pad.iter_mut().for_each(|pad| *pad -= empty);
        for kept in self.layers.iter_mut().filter_map(|layer| layer.attention.as_mut()) {
            *kept = kept.map(|tensor| tensor.narrow(2, empty, self.width));
        }
    }

    /// The rows of both, these first; the narrower one is padded on its left.
    pub fn join(mut self, mut other: Cache) -> Cache {
        let width = self.width.max(other.width);
        self.widen(width);
        other.widen(width);
        for (layer, other) in self.layers.iter_mut().zip(other.layers) {
            layer.attention = match (layer.attention.take(), other.attention) {
                (Some(a), Some(b)) => Some(a.joined(&b)),
                (a, b) => a.or(b),
            };
            layer.delta = match (layer.delta.take(), other.delta) {
                (Some(a), Some(b)) => Some(DeltaState {
                    window: Tensor::cat(vec![a.window, b.window], 0),
                    memory: Tensor::cat(vec![a.memory, b.memory], 0),
                }),
                (a, b) => a.or(b),
            };
        }
        self.left_pad.extend(other.left_pad);
        self
    }

    fn widen(&mut self, width: usize) {
        let more = width - self.width;
        if more == 0 {
            return;
        }
        let widened = |filled: Tensor<4>| {
            let [rows, heads, _, dim] = filled.dims();
            Tensor::cat(vec![Tensor::zeros([rows, heads, more, dim], &filled.device()), filled], 2)
        };
        for kept in self.layers.iter_mut().filter_map(|layer| layer.attention.as_mut()) {
            *kept = kept.map(widened);
        }
        self.left_pad.iter_mut().for_each(|pad| *pad += more);
        self.width = width;
    }
}
