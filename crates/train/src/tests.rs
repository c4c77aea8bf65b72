//! Ways to the same gradients: by autodiff alone, with the loss's own backward pass, a few rows at a time, layer by layer,
//! and with examples packed into one row.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gazal_lm::weights::to_host;
use gazal_lm::{Decoder, TokenBatch, Trainable, load_adapter, uniform};

use crate::head::score_by;
use crate::{Gradients, LossSettings, Noise, Sequence, loss_and_gradients};

fn fixtures() -> PathBuf {
    let folder = std::env::var("GAZAL_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
    PathBuf::from(folder)
}

/// A model of each family, and one with an adapter.
fn models() -> Vec<(String, Decoder, Trainable)> {
    let families = ["llama", "qwen2", "qwen3", "qwen3-tied", "qwen3_5"];
    let load = |folder: &Path| Decoder::load(folder, &Device::flex()).unwrap();
    let model = |name: &str| (name.to_string(), load(&fixtures().join("models").join(name)), Trainable::Base);
    let mut models: Vec<_> = families.into_iter().map(model).collect();
    let folder = fixtures().join("adapters/dora-rslora");
    let mut adapted = load(&folder.join("base"));
    load_adapter(&mut adapted, &folder.join("adapter")).unwrap();
    models.push(("dora-rslora".into(), adapted, Trainable::Adapters));
    models
}

fn sequences(vocab: usize) -> Vec<Sequence> {
    let sequence = |(index, (length, learn_from)): (usize, (usize, usize))| {
        let id = |at| (uniform(5, index as u64, at) * vocab as f64) as u32;
        Sequence::new((0..length).map(id).collect(), learn_from)
    };
    [(9, 1), (14, 5), (4, 2)].into_iter().enumerate().map(sequence).collect()
}

fn assert_same(found: &(f64, Gradients), wanted: &(f64, Gradients), tolerance: f32, what: &str) {
    assert!(
        (found.0 - wanted.0).abs() <= f64::from(tolerance) * wanted.0.abs(),
        "{what}: loss {} {}",
        found.0,
        wanted.0
    );
    assert_eq!(found.1.names().collect::<Vec<_>>(), wanted.1.names().collect::<Vec<_>>(), "{what}");
    for name in wanted.1.names() {
        let values = |gradients: &Gradients| to_host(gradients.get(name).unwrap().clone());
        let (found, wanted) = (values(&found.1), values(&wanted.1));
        let largest = wanted.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
        let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-7 + tolerance * largest, "{what}, {name}: off by {worst} of {largest}");
    }
}

/// By autodiff alone, from [`Decoder::log_probs`].
fn by_autodiff(decoder: &Decoder, trainable: Trainable, rows: &[&Sequence], learn_from: &[usize]) -> (f64, Gradients) {
    let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
    let batch = TokenBatch::right_padded(&ids, 0);
    let (mut positions, mut targets) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        for at in learn_from[index]..row.ids.len() {
            positions.push(index * batch.width + at - 1);
            targets.push(row.ids[at]);
        }
    }
    let mut tracked = decoder.tracked(trainable);
    let log_probs = tracked.log_probs(&batch, &positions, &targets, 1.0);
    let loss = log_probs.sum().neg().div_scalar(targets.len() as f64);
    let graph = loss.backward();
    (f64::from(to_host(loss.inner())[0]), Gradients::collect(&mut tracked, trainable, &graph))
}

#[test]
fn fixture_models_have_one_gradient_whichever_way_it_is_computed() {
    let mut checked = 0;
    for (name, decoder, trainable) in models() {
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<&Sequence> = all.iter().collect();
        let targets = rows.iter().map(|row| row.targets()).sum();
        assert_eq!(targets, 8 + 9 + 2);
        let settings = LossSettings::new(trainable, 0);
        let wanted = by_autodiff(&decoder, trainable, &rows, &[1, 5, 2]);
        let own = loss_and_gradients(&decoder, &rows, targets, &settings);
        assert_same(&own, &wanted, 1e-4, &name);
        let by_layer = LossSettings { gradient_checkpointing: true, ..settings };
        assert_same(&loss_and_gradients(&decoder, &rows, targets, &by_layer), &own, 1e-5, &name);
        checked += 1;
        if decoder.config.has_linear_attention() {
            continue;
        }
        let packed = Sequence::packed(&all);
        assert_eq!((packed.ids.len(), packed.targets()), (27, targets));
        assert_same(
            &loss_and_gradients(&decoder, &[&packed, rows[1]], targets, &settings),
            &{
                let mut both = own.clone();
                let second = loss_and_gradients(&decoder, &[rows[1]], targets, &settings);
                both.0 += second.0;
                both.1.add(second.1);
                both
            },
            1e-4,
            &name,
        );
    }
    assert_eq!(checked, 6);
}

#[test]
fn the_loss_is_the_same_however_many_rows_it_takes_at_a_time() {
    let (_, decoder, _) = models().swap_remove(3);
    let targets: Vec<u32> = (0..7).map(|at| (uniform(1, 2, at) * decoder.config.vocab_size as f64) as u32).collect();
    let hidden = decoder.embed(&TokenBatch::right_padded(&[[3, 1, 4, 1, 5, 9, 2]], 0)).autodiff().require_grad();
    let by = |rows| {
        let tracked = decoder.tracked(Trainable::Base);
        let scored = score_by(&tracked, hidden.clone(), &targets, (-0.5, rows));
        let graph = scored.surrogate.backward();
        let head = tracked.head().tensor().grad(&graph).unwrap();
        (scored.value, to_host(hidden.grad(&graph).unwrap()), to_host(head))
    };
    let (value, toward_hidden, toward_head) = by(100);
    for rows in [1, 3] {
        let found = by(rows);
        assert!((found.0 - value).abs() < 1e-6 * value.abs());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(found.1.iter().zip(&toward_hidden).all(near) && found.2.iter().zip(&toward_head).all(near));
    }
    assert!(toward_head.iter().any(|value| value.abs() > 1e-3));
}

#[test]
fn noise_moves_the_loss_and_is_the_same_layer_by_layer() {
    let (name, decoder, trainable) = models().swap_remove(2);
    let all = sequences(decoder.config.vocab_size);
    let rows: Vec<&Sequence> = all.iter().collect();
    let plain = LossSettings::new(trainable, 0);
    let noisy = LossSettings { noise: Some(Noise { alpha: 5.0, seed: 1, step: 2 }), ..plain };
    let found = loss_and_gradients(&decoder, &rows, 19, &noisy);
    assert!((found.0 - loss_and_gradients(&decoder, &rows, 19, &plain).0).abs() > 1e-6);
    let by_layer = LossSettings { gradient_checkpointing: true, ..noisy };
    assert_same(&loss_and_gradients(&decoder, &rows, 19, &by_layer), &found, 1e-5, &name);
}
