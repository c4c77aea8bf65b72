//! A step of each optimizer on the parameters of a decoder, forward and backward passes left out.
//! `cargo bench --workspace --bench optim`

use burn::tensor::Device;
use divan::Bencher;
use gazal_lm::{Config, Decoder, Initialization, Trainable, init};
use gazal_train::{Gradients, LossSettings, OptimConfig, OptimKind, Optimizer, Sequence, loss_and_gradients};
use serde_json::json;

fn main() {
    divan::main();
}

/// A decoder with about `3 × 10⁶` parameters for a width of 192, and `3 × 10⁷` for 640, and gradients of it.
fn decoder(width: usize) -> (Decoder, Gradients) {
    let file = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false,
        "attention_dropout": 0.0, "hidden_act": "silu", "torch_dtype": "float32", "vocab_size": 4096,
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": width / 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "tie_word_embeddings": true, "eos_token_id": 0, "pad_token_id": 1,
    });
    let uniform = |_: &str, index: u64| (index as f64 * 0.618_034).fract();
    let made =
        Config::from_json(file).and_then(|config| init(&config, Initialization::Normal, &Device::flex(), &uniform));
    let Ok(decoder) = made else { panic!("the configuration is wrong") };
    let sequence = Sequence::new((2..18).collect(), 1);
    let settings = LossSettings::new(Trainable::Base, 1);
    let (_, gradients) = loss_and_gradients(&decoder, &[&sequence], 15, &settings);
    (decoder, gradients)
}

fn step(bencher: Bencher, kind: OptimKind, width: usize) {
    let (mut decoder, gradients) = decoder(width);
    let mut optimizer = Optimizer::new(OptimConfig { kind, weight_decay: 0.01, ..OptimConfig::default() });
    optimizer.step(&mut decoder, Trainable::Base, &gradients, 1e-4);
    bencher.bench_local(|| optimizer.step(&mut decoder, Trainable::Base, &gradients, 1e-4));
}

const WIDTHS: [usize; 2] = [192, 640];

#[divan::bench(args = WIDTHS, sample_count = 20, sample_size = 1)]
fn adamw(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::Adamw, width);
}

#[divan::bench(args = WIDTHS, sample_count = 20, sample_size = 1)]
fn exadam(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::Exadam, width);
}

#[divan::bench(args = WIDTHS, sample_count = 20, sample_size = 1)]
fn exadam_v1(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::ExadamV1, width);
}

#[divan::bench(args = WIDTHS, sample_count = 20, sample_size = 1)]
fn adafactor(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::Adafactor, width);
}

#[divan::bench(args = WIDTHS, sample_count = 20, sample_size = 1)]
fn lion(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::Lion, width);
}

#[divan::bench(args = WIDTHS, sample_count = 3, sample_size = 1)]
fn muon(bencher: Bencher, width: usize) {
    step(bencher, OptimKind::Muon, width);
}
