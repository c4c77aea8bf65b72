//! The terms of a training, from shapes. Counts are of numbers, and numbers are float32, but those of the model's matrices
//! in the precision that these are kept in.

use gazal_lm::weights::Precision;
use gazal_lm::{AdapterConfig, Config, LayerType};
use gazal_train::OptimKind;

use super::{Estimate, Term};

/// Bytes of a number in float32.
const NUMBER: u64 = 4;

/// A training, by what its memory follows from.
#[derive(Clone)]
pub struct Training<'a> {
    pub config: &'a Config,
    pub precision: Precision,
    /// What trains; the base model itself where there is none.
    pub adapter: Option<&'a AdapterConfig>,
    pub optim: OptimKind,
    /// Rows of a micro-batch, and micro-batches of an optimizer step.
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub gradient_checkpointing: bool,
    pub lengths: Lengths,
    /// Another set of what trains, which nothing trains.
    pub has_reference: bool,
    /// Micro-batches that run side by side.
    pub at_once: usize,
}

/// Tokens of the rows that are trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    pub shortest: usize,
    /// Of those that will be drawn for certain.
    pub longest: usize,
    /// Targets of each row, at least.
    pub targets: usize,
}

impl Lengths {
    /// Of rows with these lengths, `drawn` of which are trained on: whichever these are, one of them is as long as the
    /// longest of the `drawn` shortest.
    pub fn of(lengths: impl Iterator<Item = usize>, targets: usize, drawn: usize) -> Lengths {
        let mut lengths: Vec<usize> = lengths.collect();
        lengths.sort_unstable();
        let certain = drawn.min(lengths.len()).saturating_sub(1);
        let at = |index: usize| lengths.get(index).copied().unwrap_or_default();
        Lengths { shortest: at(0), longest: at(certain), targets }
    }
}

/// What completions are sampled with.
#[derive(Clone, Copy)]
pub struct Rollout {
    /// Completions of a generation, and the tokens of each with its prompt, at least.
    pub completions: usize,
    pub tokens: usize,
}

/// A matrix by its name.
type Matrix = (String, [usize; 2]);

impl Training<'_> {
    /// The worst moment of the training itself.
    pub fn estimate(&self) -> Estimate {
        let waiting = self.gradient_accumulation_steps.saturating_sub(self.at_once);
        let forward = [self.gradients(waiting), self.activations(), self.logits()];
        let step = [self.gradients(self.gradient_accumulation_steps)];
        Estimate::worst([self.moment(forward), self.moment(step)])
    }

    /// The worst moment of sampling on the CPU, where weights are laid out anew for it: see `grpo`'s `sampler`.
    pub fn sampling(&self, rollout: Rollout) -> Estimate {
        // What an adapter is folded into is in float32.
        let (folded, rest): (Vec<Matrix>, Vec<Matrix>) =
            self.config.projections().into_iter().partition(|(name, _)| self.adapter.is_some() && self.trains(name));
        let [folded, rest] = [folded, rest].map(|matrices| numbers(&matrices));
        let plain = rest.saturating_add(numbers(&self.config.vocabulary()));
        let laid_out = bytes(folded).saturating_add(plain.saturating_mul(self.precision.size() as u64));
        let laid_out = Term { name: "the weights of the sampler", bytes: laid_out, remedy: "use a smaller model" };
        let folding = Term { name: "weights with the adapter in them", bytes: bytes(folded), remedy: ADAPTERS };
        let keys_and_values = Term {
            name: "keys and values",
            bytes: bytes(product(&[rollout.completions, rollout.tokens, self.keys_and_values()])),
            remedy: "lower `per_device_train_batch_size`, `steps_per_generation` or `max_completion_length`",
        };
        Estimate::worst([folding, keys_and_values].map(|term| self.moment([laid_out.clone(), term])))
    }

    /// What there always is, and these besides.
    fn moment<const N: usize>(&self, besides: [Term; N]) -> Estimate {
        let remedy = match self.precision {
            Precision::F32 => "set `precision = \"bf16\"`, or use a smaller model",
            _ => "use a smaller model",
        };
        let weights = Term { name: "weights", bytes: weight_bytes(self.config, self.precision), remedy };
        let mut terms = vec![weights.clone()];
        if self.adapter.is_some() {
            let sets = if self.has_reference { 2 } else { 1 };
            terms.push(Term { name: "adapters", bytes: bytes(sets * numbers(&self.trainable())), remedy: ADAPTERS });
        } else if self.has_reference {
            terms.push(Term { name: "the reference's weights", remedy: "set `beta = 0`", ..weights });
        }
        let own: u64 = self.trainable().iter().map(|(name, shape)| self.optim.state_numbers(name, shape) as u64).sum();
        // Of what trains in another precision there is a copy in float32.
        let copied = self.adapter.is_none() && self.precision != Precision::F32;
        let state = own + if copied { numbers(&self.trainable()) } else { 0 };
        let remedy = "use another `optim` (`lion` keeps half of what Adam does, `adafactor` next to nothing)";
        terms.push(Term { name: "the optimizer's state", bytes: bytes(state), remedy });
        terms.extend(besides.into_iter().filter(|term| term.bytes > 0));
        Estimate(terms)
    }

    fn gradients(&self, sets: usize) -> Term {
        let remedy = match self.adapter {
            Some(_) => "lower `gradient_accumulation_steps`, or the adapter's `lora_r`",
            None => "lower `gradient_accumulation_steps`, or use a smaller model",
        };
        let bytes = bytes(numbers(&self.trainable())).saturating_mul(sets as u64);
        Term { name: "gradients", bytes, remedy }
    }

    /// What the backward pass needs of the forward pass: nothing of the layers below the first that trains.
    fn activations(&self) -> Term {
        let layers: Vec<Vec<Matrix>> = (0..self.config.layer_types.len()).map(|layer| self.layer(layer)).collect();
        let trains = |layer: &Vec<Matrix>| layer.iter().any(|(name, _)| self.trains(name));
        let kept = layers.iter().skip_while(|layer| !trains(layer)).map(|layer| self.kept(layer));
        let (per_token, remedy) = match self.gradient_checkpointing {
            true => {
                let inputs = product(&[layers.len(), self.config.hidden_size]);
                (inputs + kept.max().unwrap_or_default(), SMALLER_BATCH)
            }
            false => (kept.sum(), CHECKPOINTING),
        };
        Term { name: "activations", bytes: bytes(per_token.saturating_mul(self.tokens())), remedy }
    }

    /// Distributions over the vocabulary, of the rows that exist at once.
    fn logits(&self) -> Term {
        let targets = self.per_device_train_batch_size.saturating_mul(self.lengths.targets);
        let rows = targets.min(self.config.rows_at_once());
        let numbers = product(&[self.at_once, rows, self.config.vocab_size]);
        Term { name: "logits", bytes: bytes(numbers), remedy: "lower `per_device_train_batch_size`" }
    }

    /// Tokens of the micro-batches that run side by side, padding included: a window's longest row is in one of them, and
    /// the others are no shorter than the shortest.
    fn tokens(&self) -> u64 {
        let Lengths { shortest, longest, .. } = self.lengths;
        let width = longest.saturating_add(shortest.saturating_mul(self.at_once.saturating_sub(1)));
        product(&[self.per_device_train_batch_size, width])
    }

    /// Numbers a token that a layer of these projections keeps: both inputs of its residual streams, what its projections
    /// give to the functions behind them, and what goes into those that train.
    fn kept(&self, projections: &[Matrix]) -> u64 {
        let hidden = self.config.hidden_size;
        let mut kept = 2 * hidden;
        for block in [".self_attn.", ".linear_attn.", ".mlp."] {
            let of_block = projections.iter().filter(|(name, _)| name.contains(block));
            let (last, first): (Vec<&Matrix>, Vec<&Matrix>) = of_block.partition(|(name, _)| ends_block(name));
            kept += first.iter().map(|(_, [output, _])| output).sum::<usize>();
            kept += if first.iter().any(|(name, _)| self.trains(name)) { hidden } else { 0 };
            kept += last.iter().filter(|(name, _)| self.trains(name)).map(|(_, [_, input])| input).sum::<usize>();
        }
        kept as u64
    }

    /// The projections of a layer.
    fn layer(&self, layer: usize) -> Vec<Matrix> {
        let prefix = format!("model.layers.{layer}.");
        self.projections().into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect()
    }

    /// Numbers a token that a layer's cache holds, over all layers that have one.
    fn keys_and_values(&self) -> usize {
        let layers = self.config.layer_types.iter().filter(|kind| **kind == LayerType::FullAttention).count();
        2 * layers * self.config.num_key_value_heads * self.config.head_dim
    }

    fn projections(&self) -> Vec<Matrix> {
        self.config.projections()
    }

    fn trains(&self, projection: &str) -> bool {
        self.adapter.is_none_or(|adapter| adapter.targets(projection))
    }

    /// The matrices that train.
    fn trainable(&self) -> Vec<Matrix> {
        let projections = self.projections();
        let Some(adapter) = self.adapter else {
            let all = projections.into_iter().chain(self.config.vocabulary());
            return all.map(|(name, shape)| (format!("{name}.weight"), shape)).collect();
        };
        pairs(projections, adapter)
    }
}

/// The bytes of a model's weights.
pub fn weight_bytes(config: &Config, precision: Precision) -> u64 {
    weights(config).saturating_mul(precision.size() as u64)
}

/// The bytes of an adapter of it, DoRA's magnitudes among them.
pub fn adapter_bytes(config: &Config, adapter: &AdapterConfig) -> u64 {
    let targets = config.projections().into_iter().filter(|(name, _)| adapter.use_dora && adapter.targets(name));
    let magnitudes = targets.map(|(_, [output, _])| output as u64).sum::<u64>();
    bytes(magnitudes.saturating_add(numbers(&pairs(config.projections(), adapter))))
}

fn weights(config: &Config) -> u64 {
    numbers(&config.projections()).saturating_add(numbers(&config.vocabulary()))
}

/// The matrices of an adapter.
fn pairs(projections: Vec<Matrix>, adapter: &AdapterConfig) -> Vec<Matrix> {
    let targets = projections.into_iter().filter(|(name, _)| adapter.targets(name));
    let pair = |(name, [output, input]): Matrix| {
        let rank = adapter.rank(&name);
        [(format!("{name}.lora_A.weight"), [rank, input]), (format!("{name}.lora_B.weight"), [output, rank])]
    };
    targets.flat_map(pair).collect()
}

const ADAPTERS: &str = "lower the adapter's `lora_r`, or name fewer `lora_target_modules`";
const SMALLER_BATCH: &str = "lower `per_device_train_batch_size` or the rows' length (`max_length`, \
    `max_completion_length`)";
const CHECKPOINTING: &str = "set `gradient_checkpointing`, or lower `per_device_train_batch_size` or the rows' length \
    (`max_length`, `max_completion_length`)";

/// Whether a projection writes into the residual stream.
fn ends_block(name: &str) -> bool {
    ["o_proj", "out_proj", "down_proj"].iter().any(|end| name.ends_with(&format!(".{end}")))
}

fn numbers(matrices: &[Matrix]) -> u64 {
    matrices.iter().fold(0, |sum, (_, shape)| sum.saturating_add(product(shape)))
}

fn bytes(numbers: u64) -> u64 {
    numbers.saturating_mul(NUMBER)
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |product: u64, &factor| product.saturating_mul(factor as u64))
}
