//! What all layers of one forward pass share: where the columns of a batch stand and which of them are padding.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::TokenBatch;
use crate::{Config, device, fused};

/// Where the queries of one batch stand: their rotary angles, and what they may see.
pub struct Frame {
    pub rows: usize,
    pub seq: usize,
    /// The column of a sequence at which the batch begins.
    start: usize,
    /// Where each column's document begins; one row for all, or one each.
    origins: Vec<Vec<usize>>,
    /// Query heads of a key head.
    groups: usize,
    device: Device,
    pub(crate) angles: Angles,
    /// `[1 or rows, 1, groups × seq, keys]`, 0 where a query may look and very negative where not; `None` when
    /// every query sees every key. Made when first asked for.
    bias: OnceLock<Option<Tensor<4>>>,
    /// `[rows × seq, 1]`, 1 at real positions and 0 in left padding; `None` without padding, or where no layer asks.
    real: Option<Tensor<2>>,
}

/// cos and sin `[1 or rows, seq, rotary dimensions]`, scaled as the positions' scaling wants it.
pub(crate) enum Angles {
    /// For operations on the host.
    Host(Arc<HostAngles>),
    /// With an axis for heads, `[1 or rows, seq, 1, rotary dimensions]`.
    Device(Box<[Tensor<4>; 2]>),
}

#[derive(Debug)]
pub(crate) struct HostAngles {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub seq: usize,
    /// Dimensions that turn.
    pub turning: usize,
}

/// Far below any score, and finite so that a row of padding does not become NaN.
const MASKED: f32 = -1e30;

impl Frame {
    /// A frame for `batch`, whose first column stands at position `start` of a sequence with `start` cached columns.
    pub fn new(config: &Config, batch: &TokenBatch, start: usize, device: &Device) -> Frame {
        let origins = batch.origins(start);
        let angles = angles(config, &origins, start);
        let angles = match device::is_cpu(device) {
            true => Angles::Host(Arc::new(angles)),
            false => angles.on(origins.len(), device),
        };
        let begins_padded = config.has_linear_attention() && batch.left_pad.iter().any(|&pad| pad > start);
        let real = begins_padded.then(|| real(&batch.left_pad, start, batch.width, device));
        let groups = config.num_attention_heads / config.num_key_value_heads;
        let (rows, seq, device, bias) = (batch.rows, batch.width, device.clone(), OnceLock::new());
        Frame { rows, seq, start, origins, groups, device, angles, bias, real }
    }

    /// Rotates the first dimensions of `x` `[rows, seq, heads, head_dim]`, as many as turn (half-split, as Hugging
    /// Face stores the weights).
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (cos, sin) = match &self.angles {
            Angles::Host(angles) => return fused::rotated(x, angles),
            Angles::Device(both) => (&both[0], &both[1]),
        };
        let ([_, _, _, dim], [_, _, _, turning]) = (x.dims(), cos.dims());
        let turn = |x: Tensor<4>| {
            let first = x.clone().narrow(3, 0, turning / 2);
            let second = x.clone().narrow(3, turning / 2, turning / 2);
            x * cos.clone() + Tensor::cat(vec![second.neg(), first], 3) * sin.clone()
        };
        if turning == dim {
            return turn(x);
        }
        let still = x.clone().narrow(3, turning, dim - turning);
        Tensor::cat(vec![turn(x.narrow(3, 0, turning)), still], 3)
    }

    /// Masks scores `[rows, key heads, groups × seq, keys]`.
    pub fn mask(&self, scores: Tensor<4>) -> Tensor<4> {
        match self.bias.get_or_init(|| self.bias()) {
            Some(bias) => scores + bias.clone(),
            None => scores,
        }
    }

    /// The additive mask: no key behind the query, and none before the query's document.
    fn bias(&self) -> Option<Tensor<4>> {
        if self.seq <= 1 && self.origins.iter().flatten().all(|&origin| origin == 0) {
            return None;
        }
        let keys = self.start + self.seq;
        let mut values = Vec::with_capacity(self.origins.len() * self.groups * self.seq * keys);
        for row in &self.origins {
            for _ in 0..self.groups {
                for (query, &origin) in (self.start..).zip(row) {
                    values.extend((0..keys).map(|key| if key <= query && key >= origin { 0.0 } else { MASKED }));
                }
            }
        }
        let shape = [self.origins.len(), 1, self.groups * self.seq, keys];
        Some(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// The first column that each query sees, `[rows × seq]`. Padding sees itself.
    pub(crate) fn first_seen(&self) -> Vec<u32> {
        let row = |row: usize| {
            let origins = &self.origins[if self.origins.len() == 1 { 0 } else { row }];
            (self.start..).zip(origins).map(|(column, &origin)| origin.min(column) as u32)
        };
        (0..self.rows).flat_map(row).collect()
    }

    /// `x` `[rows × seq, features]` with zeros in left padding, for mixers that carry a state across positions.
    pub fn silence_padding(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.real {
            Some(real) => x * real.clone(),
            None => x,
        }
    }
}

impl HostAngles {
    fn on(self, origins: usize, device: &Device) -> Angles {
        let shape = [origins, self.seq, 1, self.turning];
        let on_device = |values| Tensor::from_data(TensorData::new(values, shape), device);
        Angles::Device(Box::new([self.cos, self.sin].map(on_device)))
    }
}

/// cos and sin of position × frequency; position 0 is a document's first token.
fn angles(config: &Config, origins: &[Vec<usize>], start: usize) -> HostAngles {
    let turning = config.rope.dim;
    let (frequencies, factor) = (config.rope.frequencies(), config.rope.attention_factor());
    let seq = origins.first().map_or(0, Vec::len);
    let mut cos = Vec::with_capacity(origins.len() * seq * turning);
    let mut sin = Vec::with_capacity(cos.capacity());
    for row in origins {
        for (column, origin) in (start..).zip(row) {
            let position = column.saturating_sub(*origin) as f64;
            for j in 0..turning {
                let angle = position * frequencies[j % (turning / 2)];
                cos.push((angle.cos() * factor) as f32);
                sin.push((angle.sin() * factor) as f32);
            }
        }
    }
    HostAngles { cos, sin, seq, turning }
}

fn real(pads: &[usize], start: usize, width: usize, device: &Device) -> Tensor<2> {
    let columns = |&pad: &usize| (start..start + width).map(move |column| if column < pad { 0.0_f32 } else { 1.0 });
    let values: Vec<f32> = pads.iter().flat_map(columns).collect();
    Tensor::from_data(TensorData::new(values, [pads.len() * width, 1]), device)
}
