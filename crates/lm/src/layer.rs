//! One layer of a decoder: a mixer of positions and a feed-forward network, each behind a norm and beside a residual.

use burn::tensor::Tensor;

use crate::Form;
use crate::attention::Attention;
use crate::config::{Config, LayerType};
use crate::delta::{DeltaNet, DeltaState};
use crate::frame::Frame;
use crate::key_values::KeyValues;
use crate::linear::Linear;
use crate::mlp::Mlp;
use crate::norm::RmsNorm;
use crate::parameter::{Slot, Source};

/// What mixes the positions of a layer.
#[derive(Clone, Debug)]
pub enum Mixer {
    Attention(Box<Attention>),
    DeltaNet(Box<DeltaNet>),
}

/// What a layer remembers of the columns so far: its mixer fills one of the two.
#[derive(Clone, Debug, Default)]
pub struct LayerCache {
    pub(crate) attention: Option<KeyValues>,
    pub(crate) delta: Option<DeltaState>,
}

impl LayerCache {
    /// The rows of all, which are equally wide.
    pub(crate) fn joined(parts: Vec<LayerCache>) -> LayerCache {
        let (attention, delta): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.attention, part.delta)).unzip();
        let attention: Vec<KeyValues> = attention.into_iter().flatten().collect();
        let delta: Vec<DeltaState> = delta.into_iter().flatten().collect();
        LayerCache {
            attention: (!attention.is_empty()).then(|| KeyValues::joined(&attention)),
            delta: (!delta.is_empty()).then(|| DeltaState::joined(delta)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub input_layernorm: RmsNorm,
    pub mixer: Mixer,
    pub post_attention_layernorm: RmsNorm,
    pub mlp: Mlp,
}

impl Layer {
    pub(crate) fn build<E>(config: &Config, kind: LayerType, source: &mut Source<E>) -> Result<Layer, E> {
        let mixer = match kind {
            LayerType::FullAttention => {
                Mixer::Attention(Box::new(Attention::build(config, &mut source.part("self_attn"))?))
            }
            LayerType::LinearAttention(shape) => {
                Mixer::DeltaNet(Box::new(DeltaNet::build(config, shape, &mut source.part("linear_attn"))?))
            }
        };
        let mlp = Mlp::build(config, &mut source.part("mlp"))?;
        let mut norm = |name: &str| source.norm(name, config.hidden_size, config);
        let (input_layernorm, post_attention_layernorm) = (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        Ok(Layer { input_layernorm, mixer, post_attention_layernorm, mlp })
    }

    /// `x` `[rows × seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<2>, frame: &Frame, cache: Option<&mut LayerCache>) -> Tensor<2> {
        let normed = self.input_layernorm.forward(x.clone());
        let x = x + match &self.mixer {
            Mixer::Attention(mixer) => mixer.forward(normed, frame, cache.map(|cache| &mut cache.attention)),
            Mixer::DeltaNet(mixer) => mixer.forward(normed, frame, cache.map(|cache| &mut cache.delta)),
        };
        x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x))
    }

    pub(crate) fn pack(&mut self, form: Form) {
        for (_, linear) in self.projections_mut() {
            linear.weight = linear.weight.packed(form);
        }
    }

    /// All linear projections, named as modules of this layer.
    pub fn projections_mut(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let mut projections = match &mut self.mixer {
            Mixer::Attention(mixer) => Vec::from(mixer.projections_mut()),
            Mixer::DeltaNet(mixer) => Vec::from(mixer.projections_mut()),
        };
        projections.extend(self.mlp.projections_mut());
        projections
    }

    /// Calls `f` with every parameter of the base model by its name below `prefix`, always in the same order.
    pub(crate) fn visit(&mut self, prefix: &str, f: &mut dyn FnMut(&str, Slot)) {
        for (name, linear) in self.projections_mut() {
            if let Some(weight) = linear.weight.plain_mut() {
                f(&format!("{prefix}.{name}.weight"), Slot::Two(weight));
            }
            if let Some(bias) = &mut linear.bias {
                f(&format!("{prefix}.{name}.bias"), Slot::One(bias));
            }
        }
        let Layer { input_layernorm, post_attention_layernorm, mixer, .. } = self;
        f(&format!("{prefix}.input_layernorm.weight"), Slot::One(&mut input_layernorm.weight));
        f(&format!("{prefix}.post_attention_layernorm.weight"), Slot::One(&mut post_attention_layernorm.weight));
        let others = match mixer {
            Mixer::Attention(mixer) => mixer.others_mut(),
            Mixer::DeltaNet(mixer) => mixer.others_mut(),
        };
        for (name, slot) in others {
            f(&format!("{prefix}.{name}"), slot);
        }
    }
}
