//! The Qwen3 decoder: embeddings, layers of attention and SwiGLU, a final norm, the head.
//!
//! Tensors are plain values on a device; [`Decoder::tracked`] gives the same decoder with an autodiff graph above
//! the parameters that are to be trained. Activations stay two-dimensional, `[rows × seq, hidden]`.

use std::path::Path;

use burn::tensor::activation::{log_softmax, silu};
use burn::tensor::{Device, Int, Tensor};

use crate::attention::{Attention, Frame, KeyValues};
use crate::batch::TokenBatch;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::weights::{self, MAX_SHARD_SIZE, ModelWriter, Precision, Weights};
use crate::{Config, LmError};

/// SwiGLU: `down(silu(gate(x)) ⊙ up(x))`.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub gate_proj: Linear,
    pub up_proj: Linear,
    pub down_proj: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down_proj.forward(silu(self.gate_proj.forward(x.clone())) * self.up_proj.forward(x))
    }
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub input_layernorm: RmsNorm,
    pub self_attn: Attention,
    pub post_attention_layernorm: RmsNorm,
    pub mlp: Mlp,
}

impl Layer {
    fn forward(&self, x: Tensor<2>, frame: &Frame, cache: Option<&mut Option<KeyValues>>) -> Tensor<2> {
        let x = x.clone() + self.self_attn.forward(self.input_layernorm.forward(x), frame, cache);
        x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x))
    }

    /// The seven projections with the names that PEFT gives them.
    pub fn projections_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        let Layer { self_attn: attention, mlp, .. } = self;
        [
            ("self_attn.q_proj", &mut attention.q_proj),
            ("self_attn.k_proj", &mut attention.k_proj),
            ("self_attn.v_proj", &mut attention.v_proj),
            ("self_attn.o_proj", &mut attention.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }
}

/// A parameter with its rank.
pub enum Slot<'a> {
    One(&'a mut Tensor<1>),
    Two(&'a mut Tensor<2>),
}

impl Slot<'_> {
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Slot::One(tensor) => tensor.dims().to_vec(),
            Slot::Two(tensor) => tensor.dims().to_vec(),
        }
    }

    /// The parameter as a vector.
    pub fn flat(&self) -> Tensor<1> {
        match self {
            Slot::One(tensor) => (**tensor).clone(),
            Slot::Two(tensor) => {
                let [rows, columns] = tensor.dims();
                (**tensor).clone().reshape([rows * columns])
            }
        }
    }

    /// Replaces the parameter by a vector of as many elements.
    pub fn set_flat(&mut self, values: Tensor<1>) {
        match self {
            Slot::One(tensor) => **tensor = values,
            Slot::Two(tensor) => **tensor = values.reshape(tensor.dims()),
        }
    }

    /// The gradient of the parameter as a vector.
    pub fn gradient(&self, gradients: &burn::tensor::Gradients) -> Option<Tensor<1>> {
        match self {
            Slot::One(tensor) => tensor.grad(gradients),
            Slot::Two(tensor) => {
                let [rows, columns] = tensor.dims();
                Some(tensor.grad(gradients)?.reshape([rows * columns]))
            }
        }
    }

    fn track(&mut self, gradient: bool) {
        match self {
            Slot::One(tensor) => **tensor = tracked(tensor, gradient),
            Slot::Two(tensor) => **tensor = tracked(tensor, gradient),
        }
    }
}

fn tracked<const D: usize>(tensor: &Tensor<D>, gradient: bool) -> Tensor<D> {
    let tensor = tensor.clone().inner().autodiff();
    if gradient { tensor.require_grad() } else { tensor }
}

/// Which parameters train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainable {
    /// Every parameter of the base model.
    Base,
    /// The adapters' parameters; the base is frozen.
    Adapters,
}

/// Keys and values of all layers for sequences that are being generated.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: Vec<Option<KeyValues>>,
    /// Columns so far, padding included.
    pub width: usize,
    pub left_pad: Vec<usize>,
}

impl Cache {
    pub fn new(layers: usize) -> Cache {
        Cache { layers: vec![None; layers], width: 0, left_pad: Vec::new() }
    }

    /// Keeps `rows` in that order; a row may appear several times (the completions of one prompt).
    pub fn select(&mut self, rows: &[usize], device: &Device) {
        let index = crate::batch::indices(rows.iter().copied(), device);
        for layer in self.layers.iter_mut().flatten() {
            layer.keys = layer.keys.clone().select(0, index.clone());
            layer.values = layer.values.clone().select(0, index.clone());
        }
        self.left_pad = rows.iter().map(|&row| self.left_pad[row]).collect();
    }
}

#[derive(Clone, Debug)]
pub struct Decoder {
    pub config: Config,
    pub embed_tokens: Tensor<2>,
    pub layers: Vec<Layer>,
    pub norm: RmsNorm,
    /// Absent when it is tied to the embeddings.
    pub lm_head: Option<Tensor<2>>,
}

impl Decoder {
    /// Builds a decoder from tensors by their checkpoint names and shapes.
    ///
    /// # Errors
    /// Whatever `tensors` returns.
    pub fn build<E>(
        config: Config,
        mut tensors: impl FnMut(&str, &[usize]) -> Result<Tensor<1>, E>,
    ) -> Result<Decoder, E> {
        let (hidden, heads, kv, dim) =
            (config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let mut one = |name: &str, size: usize| tensors(name, &[size]);
        let epsilon = config.rms_norm_eps;
        let norm = RmsNorm { weight: one("model.norm.weight", hidden)?, epsilon };
        let mut two = |name: String, shape: [usize; 2]| Ok::<_, E>(tensors(&name, &shape)?.reshape(shape));
        let embed_tokens = two("model.embed_tokens.weight".into(), [config.vocab_size, hidden])?;
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(two("lm_head.weight".into(), [config.vocab_size, hidden])?),
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let prefix = format!("model.layers.{index}");
            let mut linear = |name: &str, output: usize, input: usize| {
                let shape = [output, input];
                Ok(Linear::new(tensors(&format!("{prefix}.{name}.weight"), &shape)?.reshape(shape)))
            };
            let (q_proj, k_proj) =
                (linear("self_attn.q_proj", heads * dim, hidden)?, linear("self_attn.k_proj", kv * dim, hidden)?);
            let (v_proj, o_proj) =
                (linear("self_attn.v_proj", kv * dim, hidden)?, linear("self_attn.o_proj", hidden, heads * dim)?);
            let mlp = Mlp {
                gate_proj: linear("mlp.gate_proj", config.intermediate_size, hidden)?,
                up_proj: linear("mlp.up_proj", config.intermediate_size, hidden)?,
                down_proj: linear("mlp.down_proj", hidden, config.intermediate_size)?,
            };
            let mut norm = |name: &str, size: usize| {
                Ok(RmsNorm { weight: tensors(&format!("{prefix}.{name}.weight"), &[size])?, epsilon })
            };
            let (q_norm, k_norm) = (norm("self_attn.q_norm", dim)?, norm("self_attn.k_norm", dim)?);
            layers.push(Layer {
                input_layernorm: norm("input_layernorm", hidden)?,
                post_attention_layernorm: norm("post_attention_layernorm", hidden)?,
                self_attn: Attention {
                    q_proj,
                    k_proj,
                    v_proj,
                    o_proj,
                    q_norm,
                    k_norm,
                    heads,
                    kv_heads: kv,
                    head_dim: dim,
                },
                mlp,
            });
        }
        Ok(Decoder { config, embed_tokens, layers, norm, lm_head })
    }

    /// Loads a Hugging Face folder.
    ///
    /// # Errors
    /// Naming file, field or tensor.
    pub fn load(folder: &Path, device: &Device) -> Result<Decoder, LmError> {
        let config = Config::load(folder)?;
        let mut weights = Weights::load_model(folder)?;
        let decoder = Decoder::build(config, |name, shape| match *shape {
            [size] => weights.take(name, [size], device),
            [rows, columns] => Ok(weights.take(name, [rows, columns], device)?.reshape([rows * columns])),
            _ => Err(LmError::tensor(folder, name, "has an unexpected rank")),
        })?;
        weights.finish()?;
        Ok(decoder)
    }

    /// Writes `config.json` and `model.safetensors` (float32), of a large model shards and their index.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        self.config.save(folder)?;
        let (mut decoder, mut plan) = (self.clone(), Vec::new());
        decoder.visit(&mut |name, slot| plan.push((name.to_string(), slot.shape())));
        let mut writer = ModelWriter::create(folder, &plan, Precision::F32, MAX_SHARD_SIZE)?;
        let mut outcome = Ok(());
        decoder.visit(&mut |name, slot| {
            if outcome.is_ok() {
                outcome = writer.write(name, &weights::to_host(slot.flat().inner()));
            }
        });
        outcome?;
        writer.finish()
    }

    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Calls `f` with every parameter of the base model by its checkpoint name, always in the same order.
    pub fn visit(&mut self, f: &mut dyn FnMut(&str, Slot)) {
        f("model.embed_tokens.weight", Slot::Two(&mut self.embed_tokens));
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let prefix = format!("model.layers.{index}");
            for (name, linear) in layer.projections_mut() {
                f(&format!("{prefix}.{name}.weight"), Slot::Two(&mut linear.weight));
            }
            let Layer { input_layernorm, self_attn, post_attention_layernorm, .. } = layer;
            let norms = [
                ("input_layernorm", input_layernorm),
                ("post_attention_layernorm", post_attention_layernorm),
                ("self_attn.q_norm", &mut self_attn.q_norm),
                ("self_attn.k_norm", &mut self_attn.k_norm),
            ];
            for (name, norm) in norms {
                f(&format!("{prefix}.{name}.weight"), Slot::One(&mut norm.weight));
            }
        }
        f("model.norm.weight", Slot::One(&mut self.norm.weight));
        if let Some(head) = &mut self.lm_head {
            f("lm_head.weight", Slot::Two(head));
        }
    }

    /// Calls `f` with every adapter parameter by the name that PEFT saves it under.
    pub fn visit_adapters(&mut self, f: &mut dyn FnMut(&str, Slot)) {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (name, linear) in layer.projections_mut() {
                let Some(adapter) = &mut linear.adapter else { continue };
                let prefix = format!("base_model.model.model.layers.{index}.{name}");
                f(&format!("{prefix}.lora_A.weight"), Slot::Two(&mut adapter.a));
                f(&format!("{prefix}.lora_B.weight"), Slot::Two(&mut adapter.b));
                if let Some(magnitude) = &mut adapter.magnitude {
                    f(&format!("{prefix}.lora_magnitude_vector"), Slot::One(magnitude));
                }
            }
        }
    }

    /// The parameters that train, in [`Decoder::visit`]'s or [`Decoder::visit_adapters`]'s order.
    pub fn visit_trainable(&mut self, trainable: Trainable, f: &mut dyn FnMut(&str, Slot)) {
        match trainable {
            Trainable::Base => self.visit(f),
            Trainable::Adapters => self.visit_adapters(f),
        }
    }

    /// This decoder under autodiff, with gradients for what is `trainable`.
    pub fn tracked(&self, trainable: Trainable) -> Decoder {
        let mut decoder = self.clone();
        decoder.visit(&mut |_, mut slot| slot.track(trainable == Trainable::Base));
        decoder.visit_adapters(&mut |_, mut slot| slot.track(trainable == Trainable::Adapters));
        decoder
    }

    /// This decoder without its adapters: the reference policy of a model that trains adapters.
    pub fn without_adapters(&self) -> Decoder {
        let mut decoder = self.clone();
        for layer in &mut decoder.layers {
            for (_, linear) in layer.projections_mut() {
                linear.adapter = None;
            }
        }
        decoder
    }

    /// The adapters folded into the weights.
    pub fn merged(&self) -> Decoder {
        let mut decoder = self.clone();
        for layer in &mut decoder.layers {
            for (_, linear) in layer.projections_mut() {
                *linear = Linear::new(linear.merge());
            }
        }
        decoder
    }

    /// See [`Linear::refresh_norm`].
    pub fn refresh_norms(&mut self) {
        for layer in &mut self.layers {
            for (_, linear) in layer.projections_mut() {
                linear.refresh_norm();
            }
        }
    }

    /// Final hidden states `[rows × width, hidden]`, after the last norm.
    pub fn hidden(&self, batch: &TokenBatch, mut cache: Option<&mut Cache>) -> Tensor<2> {
        let device = self.device();
        let start = cache.as_ref().map_or(0, |cache| cache.width);
        let frame = Frame::new(&self.config, batch, start, &device);
        let mut x = self.embed_tokens.clone().select(0, batch.tensor(&device));
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &frame, cache.as_mut().map(|cache| &mut cache.layers[index]));
        }
        if let Some(cache) = cache {
            cache.width += batch.width;
            cache.left_pad.clone_from(&batch.left_pad);
        }
        self.norm.forward(x)
    }

    /// Hidden states `[n, hidden]` to logits `[n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        hidden.matmul(head.clone().transpose())
    }

    /// Logits of the whole batch, `[rows × width, vocab]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        self.logits(self.hidden(batch, None))
    }

    /// Log-probabilities `[n]` of `targets` at `positions` (rows of the flattened batch) under a temperature.
    /// Logits are computed at those positions only.
    pub fn log_probs(&self, batch: &TokenBatch, positions: &[usize], targets: &[u32], temperature: f64) -> Tensor<1> {
        let device = self.device();
        let hidden = self.hidden(batch, None).select(0, crate::batch::indices(positions.iter().copied(), &device));
        let logits = self.logits(hidden);
        let logits = if temperature == 1.0 { logits } else { logits.div_scalar(temperature) };
        let targets: Tensor<2, Int> =
            crate::batch::indices(targets.iter().map(|&id| id as usize), &device).unsqueeze_dim(1);
        log_softmax(logits, 1).gather(1, targets).squeeze_dim::<1>(1)
    }
}
