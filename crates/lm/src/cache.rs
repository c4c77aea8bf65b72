//! What a decoder remembers of sequences that are being generated.

use burn::tensor::Device;

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
        let index = indices(rows.iter().copied(), device);
        for layer in &mut self.layers {
            if let Some(seen) = &mut layer.attention {
                seen.keys = seen.keys.clone().select(0, index.clone());
                seen.values = seen.values.clone().select(0, index.clone());
            }
            if let Some(state) = &mut layer.delta {
                state.window = state.window.clone().select(0, index.clone());
                state.memory = state.memory.clone().select(0, index.clone());
            }
        }
        self.left_pad = rows.iter().map(|&row| self.left_pad[row]).collect();
    }
}
