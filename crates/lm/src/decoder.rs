//! A decoder: embeddings, layers, a final norm, the head. What its layers have follows from its [`Config`].
//!
//! Tensors are plain values on a device; [`Decoder::tracked`] gives the same decoder with an autodiff graph above
//! the parameters that are to be trained. Activations stay two-dimensional, `[rows × seq, hidden]`.

use std::path::Path;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};

use crate::batch::TokenBatch;
use crate::cache::Cache;
use crate::device::cpu;
use crate::frame::Frame;
use crate::layer::Layer;
use crate::norm::RmsNorm;
use crate::parameter::{Give, Slot, Source, Trainable};
use crate::weight::Weight;
use crate::weights::{self, MAX_SHARD_SIZE, ModelWriter, Precision, Weights};
use crate::{Config, Form, LmError};

/// What the names of a checkpoint's tensors begin with; where there are several towers, those of the text tower.
const PREFIXES: [&str; 2] = ["model", "model.language_model"];

/// Parts of a checkpoint that are no part of a text decoder: heads that predict several tokens, a vision tower, and
/// the rotary frequencies of old files.
fn is_left_out(config: &Config, name: &str) -> bool {
    let elsewhere = ["mtp.", "model.visual."].iter().any(|prefix| name.starts_with(prefix));
    elsewhere || name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == HEAD)
}

const HEAD: &str = "lm_head.weight";

#[derive(Clone, Debug)]
pub struct Decoder {
    pub config: Config,
    pub embed_tokens: Weight,
    pub layers: Vec<Layer>,
    pub norm: RmsNorm,
    /// Absent when it is tied to the embeddings.
    pub lm_head: Option<Weight>,
    /// One of [`PREFIXES`].
    prefix: &'static str,
}

impl Decoder {
    /// Builds a decoder from tensors by their checkpoint names and shapes; each is given as a vector.
    ///
    /// # Errors
    /// Whatever `tensors` returns.
    pub fn build<E>(
        config: Config,
        mut tensors: impl FnMut(&str, &[usize]) -> Result<Tensor<1>, E>,
    ) -> Result<Decoder, E> {
        Decoder::build_below(PREFIXES[0], config, None, &mut tensors)
    }

    /// Layers are packed one by one, where they are to be: a weight is in memory twice for no longer than that takes.
    fn build_below<E>(
        prefix: &'static str,
        config: Config,
        form: Option<Form>,
        tensors: Give<E>,
    ) -> Result<Decoder, E> {
        let size = [config.vocab_size, config.hidden_size];
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(Weight::Plain(tensors(HEAD, &size)?.reshape(size))),
        };
        let mut source = Source { prefix: prefix.into(), tensors };
        let embed_tokens = Weight::Plain(source.take("embed_tokens.weight", size)?);
        let norm = source.norm("norm", config.hidden_size, &config)?;
        let layer = |(index, kind)| {
            let mut layer = Layer::build(&config, kind, &mut source.part(&format!("layers.{index}")))?;
            form.inspect(|&form| layer.pack(form));
            Ok(layer)
        };
        let layers = config.layer_types.iter().copied().enumerate().map(layer).collect::<Result<_, E>>()?;
        let mut decoder = Decoder { config, embed_tokens, layers, norm, lm_head, prefix };
        form.inspect(|&form| decoder.pack_ends(form));
        Ok(decoder)
    }

    /// Loads a Hugging Face folder, in float32.
    ///
    /// # Errors
    /// Naming file, field or tensor.
    pub fn load(folder: &Path, device: &Device) -> Result<Decoder, LmError> {
        Decoder::load_in(folder, device, Precision::F32)
    }

    /// Loads a Hugging Face folder with its matrices in a precision; vectors (norms, biases) and convolutions are float32.
    ///
    /// # Errors
    /// Naming file, field or tensor.
    pub fn load_in(folder: &Path, device: &Device, precision: Precision) -> Result<Decoder, LmError> {
        Decoder::load_as(folder, device, (precision, None))
    }

    /// Loads a Hugging Face folder onto the CPU, with weights laid out for products: for generating and scoring.
    ///
    /// # Errors
    /// Naming file, field or tensor.
    pub fn load_packed(folder: &Path, form: Form) -> Result<Decoder, LmError> {
        Decoder::load_as(folder, &cpu(), (Precision::F32, Some(form)))
    }

    fn load_as(
        folder: &Path,
        device: &Device,
        (precision, form): (Precision, Option<Form>),
    ) -> Result<Decoder, LmError> {
        let config = Config::load(folder)?;
        let mut weights = Weights::load_model(folder)?;
        let inner = weights.names().any(|name| name.starts_with("model.language_model."));
        let decoder =
            Decoder::build_below(PREFIXES[usize::from(inner)], config, form, &mut |name, shape| match *shape {
                [size] => weights.take(name, [size], device),
                [rows, columns] => {
                    Ok(weights.take_in(precision, name, [rows, columns], device)?.reshape([rows * columns]))
                }
                [a, b, c] => Ok(weights.take(name, [a, b, c], device)?.reshape([a * b * c])),
                _ => Err(LmError::tensor(folder, name, "has an unexpected rank")),
            })?;
        weights.ignore(|name| is_left_out(&decoder.config, name));
        weights.finish()?;
        Ok(decoder)
    }

    /// This decoder with its matrices in a precision, as [`Decoder::load_in`] gives them.
    #[must_use]
    pub fn in_precision(mut self, precision: Precision) -> Decoder {
        self.visit(&mut |_, slot| {
            if let Slot::Two(matrix) = slot {
                *matrix = matrix.clone().cast(precision.dtype());
            }
        });
        self.renew_norms();
        self
    }

    /// A copy of this decoder on a device.
    #[must_use]
    pub fn to_device(&self, device: &Device) -> Decoder {
        let mut decoder = self.clone();
        decoder.visit(&mut |_, mut slot| slot.move_to(device));
        decoder.visit_adapters(&mut |_, mut slot| slot.move_to(device));
        decoder.renew_norms();
        decoder
    }

    /// Takes over the trainable parameters of a copy that may be on another device.
    pub fn take_over(&mut self, other: &Decoder, trainable: Trainable) {
        let (device, mut parameters) = (self.device(), Vec::new());
        other.clone().visit_trainable(trainable, &mut |_, slot| parameters.push(slot.flat().to_device(&device)));
        let mut parameters = parameters.into_iter();
        self.visit_trainable(trainable, &mut |_, mut slot| {
            parameters.next().into_iter().for_each(|values| slot.set_flat(values));
        });
        self.refresh_norms();
    }

    /// As [`Decoder::refresh_norms`], after a change of the weights too.
    fn renew_norms(&mut self) {
        self.layers.iter_mut().flat_map(Layer::projections_mut).for_each(|(_, linear)| linear.forget_norm());
        self.refresh_norms();
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

    /// Calls `f` with every parameter of the base model by its checkpoint name, always in the same order. Packed weights
    /// are no parameters.
    pub fn visit(&mut self, f: &mut dyn FnMut(&str, Slot)) {
        let prefix = self.prefix;
        if let Some(embeddings) = self.embed_tokens.plain_mut() {
            f(&format!("{prefix}.embed_tokens.weight"), Slot::Two(embeddings));
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.visit(&format!("{prefix}.layers.{index}"), f);
        }
        f(&format!("{prefix}.norm.weight"), Slot::One(&mut self.norm.weight));
        if let Some(head) = self.lm_head.as_mut().and_then(Weight::plain_mut) {
            f(HEAD, Slot::Two(head));
        }
    }

    /// Calls `f` with every adapter parameter by the name that PEFT saves it under, which is that of the text tower
    /// alone.
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
                *linear = linear.merged();
            }
        }
        decoder
    }

    /// This decoder with its weights laid out for products, which must be on the CPU: for generating and scoring.
    #[must_use]
    pub fn packed(&self, form: Form) -> Decoder {
        let mut decoder = self.clone();
        decoder.layers.iter_mut().for_each(|layer| layer.pack(form));
        decoder.pack_ends(form);
        decoder
    }

    /// Packs embeddings and head, which are one where they are tied.
    fn pack_ends(&mut self, form: Form) {
        self.embed_tokens = self.embed_tokens.packed(form);
        self.lm_head = self.lm_head.take().map(|head| head.packed(form));
    }

    /// See [`Linear::refresh_norm`].
    pub fn refresh_norms(&mut self) {
        for layer in &mut self.layers {
            for (_, linear) in layer.projections_mut() {
                linear.refresh_norm();
            }
        }
    }

    /// What the layers share when they read a batch from its beginning.
    pub fn frame(&self, batch: &TokenBatch) -> Frame {
        Frame::new(&self.config, batch, 0, &self.device())
    }

    /// The embeddings of a batch, `[rows × width, hidden]`.
    pub fn embed(&self, batch: &TokenBatch) -> Tensor<2> {
        self.embed_tokens.rows(&batch.ids)
    }

    /// Final hidden states `[rows × width, hidden]`, after the last norm.
    pub fn hidden(&self, batch: &TokenBatch, cache: Option<&mut Cache>) -> Tensor<2> {
        self.hidden_from(self.embed(batch), batch, cache)
    }

    /// Final hidden states from embeddings `x` of the batch, which may be other ones than the model's.
    pub fn hidden_from(&self, mut x: Tensor<2>, batch: &TokenBatch, mut cache: Option<&mut Cache>) -> Tensor<2> {
        let device = self.device();
        let start = cache.as_ref().map_or(0, |cache| cache.width);
        let frame = Frame::new(&self.config, batch, start, &device);
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &frame, cache.as_mut().map(|cache| &mut cache.layers[index]));
        }
        if let Some(cache) = cache {
            cache.width += batch.width;
            cache.left_pad.clone_from(&batch.left_pad);
        }
        self.norm.forward(x)
    }

    /// The matrix of the head, `[vocab, hidden]`.
    pub fn head(&self) -> &Weight {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// Hidden states `[n, hidden]` to logits `[n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.head().product(hidden)
    }

    /// Logits of the whole batch, `[rows × width, vocab]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        self.logits(self.hidden(batch, None))
    }

    /// Log-probabilities `[n]` of `targets` at `positions` (rows of the flattened batch), by tensor operations alone: what
    /// [`Decoder::score`] and the losses with gradients of their own are compared with.
    pub fn log_probs(&self, batch: &TokenBatch, positions: &[usize], targets: &[u32], temperature: f64) -> Tensor<1> {
        let device = self.device();
        let hidden = self.hidden(batch, None).select(0, crate::batch::indices(positions.iter().copied(), &device));
        let distributions = log_softmax(self.logits(hidden).div_scalar(temperature), 1);
        let targets: Tensor<2, Int> =
            crate::batch::indices(targets.iter().map(|&id| id as usize), &device).unsqueeze_dim(1);
        distributions.gather(1, targets).squeeze_dim::<1>(1)
    }
}
