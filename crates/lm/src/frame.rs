//! What all layers of one forward pass share: where the columns of a batch stand and which of them are padding.

use burn::tensor::{Device, Tensor, TensorData};

use crate::Config;
use crate::batch::TokenBatch;

/// Rotary angles and masks of one batch.
pub struct Frame {
    pub rows: usize,
    pub seq: usize,
    /// `[1 or rows, seq, 1, rotary dimensions]`, scaled as the positions' scaling wants it.
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[1 or rows, 1, groups × seq, keys]`, 0 where a query may look and very negative where not; `None` when
    /// every query sees every key.
    bias: Option<Tensor<4>>,
    /// `[rows × seq, 1]`, 1 at real positions and 0 in left padding; `None` without padding, or where no layer asks.
    real: Option<Tensor<2>>,
}

/// Far below any score, and finite so that a row of padding does not become NaN.
const MASKED: f32 = -1e30;

impl Frame {
    /// A frame for `batch`, whose first column stands at position `start` of a sequence with `start` cached columns.
    pub fn new(config: &Config, batch: &TokenBatch, start: usize, device: &Device) -> Frame {
        let origins = batch.origins(start);
        let (cos, sin) = angles(config, &origins, start, device);
        let groups = config.num_attention_heads / config.num_key_value_heads;
        let sees_all = batch.width <= 1 && origins.iter().flatten().all(|&origin| origin == 0);
        let bias = (!sees_all).then(|| bias(&origins, start, groups, device));
        let begins_padded = config.has_linear_attention() && batch.left_pad.iter().any(|&pad| pad > start);
        let real = begins_padded.then(|| real(&batch.left_pad, start, batch.width, device));
        Frame { rows: batch.rows, seq: batch.width, cos, sin, bias, real }
    }

    /// Rotates the first dimensions of `x` `[rows, seq, heads, head_dim]`, as many as turn (half-split, as Hugging
    /// Face stores the weights).
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, _, _, dim], [_, _, _, turning]) = (x.dims(), self.cos.dims());
        if turning == dim {
            return self.turn(x);
        }
        let still = x.clone().narrow(3, turning, dim - turning);
        Tensor::cat(vec![self.turn(x.narrow(3, 0, turning)), still], 3)
    }

    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, dim] = x.dims();
        let first = x.clone().narrow(3, 0, dim / 2);
        let second = x.clone().narrow(3, dim / 2, dim / 2);
        let turned = Tensor::cat(vec![second.neg(), first], 3);
        x * self.cos.clone() + turned * self.sin.clone()
    }

    /// Masks scores `[rows, key heads, groups × seq, keys]`.
    pub fn mask(&self, scores: Tensor<4>) -> Tensor<4> {
        match &self.bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        }
    }

    /// `x` `[rows × seq, features]` with zeros in left padding, for mixers that carry a state across positions.
    pub fn silence_padding(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.real {
            Some(real) => x * real.clone(),
            None => x,
        }
    }
}

/// cos and sin of position × frequency, `[origins, width, 1, rotary dimensions]`; position 0 is a document's first token.
fn angles(config: &Config, origins: &[Vec<usize>], start: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let dim = config.rope.dim;
    let (frequencies, factor) = (config.rope.frequencies(), config.rope.attention_factor());
    let width = origins.first().map_or(0, Vec::len);
    let mut cos = Vec::with_capacity(origins.len() * width * dim);
    let mut sin = Vec::with_capacity(cos.capacity());
    for row in origins {
        for (column, origin) in (start..).zip(row) {
            let position = column.saturating_sub(*origin) as f64;
            for j in 0..dim {
                let angle = position * frequencies[j % (dim / 2)];
                cos.push((angle.cos() * factor) as f32);
                sin.push((angle.sin() * factor) as f32);
            }
        }
    }
    let shape = [origins.len(), width, 1, dim];
    (Tensor::from_data(TensorData::new(cos, shape), device), Tensor::from_data(TensorData::new(sin, shape), device))
}

/// The additive mask: no key behind the query, and none before the query's document.
fn bias(origins: &[Vec<usize>], start: usize, groups: usize, device: &Device) -> Tensor<4> {
    let width = origins.first().map_or(0, Vec::len);
    let keys = start + width;
    let mut values = Vec::with_capacity(origins.len() * groups * width * keys);
    for row in origins {
        for _ in 0..groups {
            for (query, &origin) in (start..).zip(row) {
                values.extend((0..keys).map(|key| if key <= query && key >= origin { 0.0 } else { MASKED }));
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [origins.len(), 1, groups * width, keys]), device)
}

fn real(pads: &[usize], start: usize, width: usize, device: &Device) -> Tensor<2> {
    let columns = |&pad: &usize| (start..start + width).map(move |column| if column < pad { 0.0_f32 } else { 1.0 });
    let values: Vec<f32> = pads.iter().flat_map(columns).collect();
    Tensor::from_data(TensorData::new(values, [pads.len() * width, 1]), device)
}
