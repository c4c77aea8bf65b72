//! What a decoder remembers of sequences that are being generated.

use burn::tensor::{Device, Tensor};

use crate::batch::indices;
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
        if rows.iter().copied().eq(0..self.left_pad.len()) {
            return;
        }
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

    /// The rows of all, one cache after the other; narrower ones are padded on their left. Of none, an empty one.
    pub fn joined(mut caches: Vec<Cache>) -> Cache {
        if caches.len() == 1 {
            return caches.remove(0);
        }
        let width = caches.iter().map(|cache| cache.width).max().unwrap_or(0);
        caches.iter_mut().for_each(|cache| cache.widen(width));
        let left_pad = caches.iter().flat_map(|cache| cache.left_pad.iter().copied()).collect();
        let count = caches.first().map_or(0, |cache| cache.layers.len());
        let of = |layer: usize| caches.iter_mut().map(|cache| std::mem::take(&mut cache.layers[layer])).collect();
        let layers = (0..count).map(of).map(LayerCache::joined).collect();
        Cache { layers, width, left_pad }
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
