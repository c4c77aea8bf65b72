//! Ways to the same gradients: by autodiff alone, with the loss's own backward pass, a few rows at a time, layer by layer,
//! and with examples packed into one row.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use gazal_lm::weights::{Precision, largest_difference, to_host};
use gazal_lm::{Decoder, Labels, TokenBatch, Trainable, indices, load_adapter, uniform};

use crate::fixtures::place;
use crate::head::{Head, Slopes};
use crate::{
    Backward, Followers, Gradients, LossSettings, Noise, OptimConfig, OptimKind, Optimizer, Sequence, reduce,
    window_gradients,
};

/// A model of each family, and one with an adapter.
fn models() -> Vec<(String, Decoder, Trainable)> {
    let families = ["llama", "qwen2", "qwen3", "qwen3-tied", "qwen3_5"];
    let load = |folder: &Path| Decoder::load(folder, &Device::flex()).unwrap();
    let model = |name: &str| (name.to_string(), load(&place("models").join(name)), Trainable::Base);
    let mut models: Vec<_> = families.into_iter().map(model).collect();
    let folder = place("adapters/dora-rslora");
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

fn loss_and_gradients(decoder: &Decoder, rows: &[&Sequence], targets: usize, how: &LossSettings) -> (f64, Gradients) {
    let (means, gradients) = crate::loss_and_gradients(decoder, rows, targets, how);
    (means.loss, gradients)
}

/// The same layer by layer.
fn by_layer(settings: LossSettings) -> LossSettings {
    LossSettings { backward: Backward { gradient_checkpointing: true, ..settings.backward }, ..settings }
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
        let worst = largest_difference(&found, &wanted);
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

/// Shards of a window, each on a device of its own, add up to the gradients of one device, and the copies follow.
#[test]
fn fixture_models_on_several_devices_have_the_gradients_of_one() {
    let models = models();
    for (name, mut decoder, trainable) in models {
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<[&Sequence; 1]> = all.iter().map(|row| [row]).collect();
        let micro_batches: Vec<&[&Sequence]> = rows.iter().map(<[&Sequence; 1]>::as_slice).collect();
        let settings = LossSettings::new(trainable, 0);
        let of = |decoder: &Decoder, followers: &Followers| {
            let (means, gradients) = window_gradients((decoder, followers), &micro_batches, &settings);
            (means.loss, gradients)
        };
        let alone = of(&decoder, &Followers::default());
        let mut followers = Followers::new(&decoder, &[Device::flex(), Device::flex()]);
        assert_same(&of(&decoder, &followers), &alone, 1e-6, &name);

        let mut optimizer = Optimizer::new(OptimConfig::default());
        optimizer.step(&mut decoder, trainable, &alone.1, 1e-2);
        let behind = of(&decoder, &followers);
        followers.follow(&decoder, trainable);
        let moved = of(&decoder, &Followers::default());
        assert_same(&of(&decoder, &followers), &moved, 1e-6, &name);
        assert!((behind.0 - moved.0).abs() > 1e-6, "{name}: a copy that stays behind shows");
    }
}

/// On the CPU a matrix in bfloat16 is widened and no more.
#[test]
fn fixture_models_in_bfloat16_have_the_gradients_of_the_same_numbers_in_float32() {
    let models = models();
    for (name, decoder, trainable) in &models {
        let narrow = decoder.clone().in_precision(Precision::Bf16);
        let wide = narrow.clone().in_precision(Precision::F32);
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<&Sequence> = all.iter().collect();
        let settings = LossSettings::new(*trainable, 0);
        let of = |decoder: &Decoder, how: &LossSettings| loss_and_gradients(decoder, &rows, 19, how);
        let wanted = of(&wide, &settings);
        assert_same(&of(&narrow, &settings), &wanted, 0.0, name);
        assert_same(&of(&narrow, &by_layer(settings)), &wanted, 1e-5, name);
        assert!((wanted.0 - of(decoder, &settings).0).abs() > 1e-6, "{name}: rounding changes nothing");
    }
    assert_eq!(models.len(), 6);
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
        assert_same(&loss_and_gradients(&decoder, &rows, targets, &by_layer(settings)), &own, 1e-5, &name);
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

/// Two shards of a batch, as two devices would have them: each with the targets of the whole batch as its normaliser,
/// reduced, they are one device with the whole batch.
#[test]
fn shards_reduce_to_the_whole_batch() {
    for (name, decoder, trainable) in models() {
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<&Sequence> = all.iter().collect();
        let targets = rows.iter().map(|row| row.targets()).sum();
        let settings = LossSettings::new(trainable, 0);
        let whole = loss_and_gradients(&decoder, &rows, targets, &settings);
        for cut in [1, 2] {
            let (first, second) = rows.split_at(cut);
            let shards = [first, second].map(|shard| loss_and_gradients(&decoder, shard, targets, &settings));
            assert!(shards.iter().all(|(loss, _)| *loss > 0.0), "{name}: a shard has nothing to learn");
            let loss = shards.iter().map(|(loss, _)| loss).sum();
            let reduced = (loss, reduce(shards.map(|(_, gradients)| gradients).into()));
            assert_same(&reduced, &whole, 1e-5, &name);
        }
    }
}

#[test]
fn what_only_one_part_has_is_in_the_sum_and_the_order_is_that_of_the_parts() {
    assert_eq!(reduce(Vec::new()).names().count(), 0);
    let (_, decoder, trainable) = models().swap_remove(0);
    let all = sequences(decoder.config.vocab_size);
    let rows: Vec<&Sequence> = all.iter().collect();
    let part = |row: usize| loss_and_gradients(&decoder, &rows[row..=row], 19, &LossSettings::new(trainable, 0)).1;
    let by_hand = |name: &str| {
        let [a, b, c] = [0, 1, 2].map(|row| part(row).get(name).unwrap().clone());
        to_host(a + b + c)
    };
    let sum = reduce(vec![Gradients::default(), part(0), part(1), part(2)]);
    for name in sum.names() {
        assert_eq!(to_host(sum.get(name).unwrap().clone()), by_hand(name), "{name}, to the bit");
    }
}

/// Slopes that differ by token, and an entropy bonus: what autodiff makes of the same loss, for models of which the head
/// trains and of which it does not.
#[test]
fn scores_and_any_slopes_are_those_of_autodiff() {
    for (name, decoder, trainable) in models().into_iter().skip(2) {
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<&[u32]> = all.iter().map(|row| row.ids.as_slice()).collect();
        let batch = TokenBatch::right_padded(&rows, 0);
        let (positions, ids) = (vec![0, 3, 7, 16, 20, 29], vec![1, 5, 2, 0, 7, 3]);
        let mut labels = Labels { batch, positions, ids };
        let places = || indices(labels.positions.iter().copied(), &decoder.device());
        let logits = decoder.logits(decoder.hidden(&labels.batch, None).select(0, places()));
        let likeliest: Vec<u32> = logits.argmax(1).into_data().iter::<u32>().collect();
        labels.ids[2] = likeliest[2];
        let slope = |at: usize| uniform(3, 1, at) - 0.5;
        let slopes = |count: usize| (0..count).map(slope).collect::<Vec<f64>>();
        for (bonus, temperature) in [(false, 1.0), (true, 0.7)] {
            let mut tracked = decoder.tracked(trainable);
            let hidden = tracked.hidden(&labels.batch, None).select(0, places());
            let log_probs = log_softmax(tracked.logits(hidden).div_scalar(temperature), 1);
            let entropies = (log_probs.clone().exp() * log_probs.clone()).sum_dim(1).squeeze_dim::<1>(1).neg();
            let ids: Tensor<2, Int> =
                indices(labels.ids.iter().map(|&id| id as usize), &decoder.device()).unsqueeze_dim(1);
            let log_probs = log_probs.gather(1, ids).squeeze_dim::<1>(1);
            let weights: Vec<f32> = slopes(6).into_iter().map(|slope| slope as f32).collect();
            let weights = Tensor::<1>::from_data(TensorData::new(weights, [6]), &decoder.device()).autodiff();
            let mut loss = (log_probs.clone() * weights.clone()).sum();
            if bonus {
                loss = loss + (entropies.clone() * weights).sum();
            }
            let graph = loss.backward();
            let wanted = Gradients::collect(&mut tracked, trainable, &graph);
            for gradient_checkpointing in [false, true] {
                let backward = Backward { trainable, gradient_checkpointing };
                let (scores, found) = backward.gradients(&decoder, (&labels, temperature), |scores| {
                    let count = scores.log_probs.len();
                    Slopes { log_probs: slopes(count), entropies: bonus.then(|| slopes(count)) }
                });
                assert_same(&(0.0, found), &(0.0, wanted.clone()), 1e-4, &name);
                let (log_probs, entropies) = (log_probs.clone().inner(), entropies.clone().inner());
                for scores in [scores, decoder.score(&labels, temperature)] {
                    let near = |found: &[f32], wanted: &Tensor<1>| {
                        found.iter().zip(to_host(wanted.clone())).all(|(a, b)| (a - b).abs() < 1e-4)
                    };
                    assert!(near(&scores.log_probs, &log_probs) && near(&scores.entropies, &entropies), "{name}");
                    let hits = likeliest.iter().zip(&labels.ids).map(|(likeliest, id)| likeliest == id);
                    assert!(scores.hits[2] && scores.hits.iter().copied().eq(hits), "{name}");
                }
            }
        }
    }
}

#[test]
fn the_loss_is_the_same_however_many_rows_it_takes_at_a_time() {
    let (_, decoder, _) = models().swap_remove(3);
    let targets: Vec<u32> = (0..7).map(|at| (uniform(1, 2, at) * decoder.config.vocab_size as f64) as u32).collect();
    let hidden = decoder.embed(&TokenBatch::right_padded(&[[3, 1, 4, 1, 5, 9, 2]], 0)).autodiff().require_grad();
    let slopes = || (0..7).map(|at| 0.3 - f64::from(at) / 10.0).collect::<Vec<f64>>();
    let by = |rows, linear| {
        let tracked = decoder.tracked(Trainable::Base);
        let head = Head::new(&tracked, hidden.clone(), &targets).at(0.9).rows_at_once(rows);
        let scored = match linear {
            true => head.linear(-0.5),
            false => head.any(|_| Slopes { log_probs: slopes(), entropies: Some(slopes()) }),
        };
        let graph = scored.surrogate.backward();
        let head = tracked.head().tensor().grad(&graph).unwrap();
        (scored.scores.log_probs, to_host(hidden.grad(&graph).unwrap()), to_host(head))
    };
    for linear in [true, false] {
        let (scores, toward_hidden, toward_head) = by(100, linear);
        for rows in [1, 3] {
            let found = by(rows, linear);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            assert!(found.0.iter().zip(&scores).all(near));
            assert!(found.1.iter().zip(&toward_hidden).all(near) && found.2.iter().zip(&toward_head).all(near));
        }
        assert!(toward_head.iter().any(|value| value.abs() > 1e-3));
    }
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
    assert_same(&loss_and_gradients(&decoder, &rows, 19, &by_layer(noisy)), &found, 1e-5, &name);
}

/// The same of whole models, of which the head trains or an adapter below it does.
#[test]
fn the_loss_of_every_model_is_the_same_a_few_rows_at_a_time() {
    for (name, decoder, trainable) in models() {
        let all = sequences(decoder.config.vocab_size);
        let rows: Vec<&[u32]> = all.iter().map(|row| row.ids.as_slice()).collect();
        let batch = TokenBatch::right_padded(&rows, 0);
        let labels = Labels { batch, positions: vec![0, 3, 7, 16, 20, 29, 30], ids: vec![1, 5, 2, 0, 7, 3, 3] };
        let backward = LossSettings::new(trainable, 0).backward;
        let by = |rows| {
            let (scores, gradients) =
                backward.through(&decoder, &labels, None, |head| head.at(0.7).rows_at_once(rows).linear(-1.0 / 7.0));
            (-scores.log_probs.iter().copied().map(f64::from).sum::<f64>() / 7.0, gradients)
        };
        let whole = by(100);
        assert!(whole.0 > 1.0, "{name}");
        assert_same(&by(1), &whole, 1e-5, &name);
        assert_same(&by(3), &whole, 1e-5, &name);
    }
}

/// Where nothing is to be learnt there is no loss, and no gradient but zeros.
#[test]
fn rows_without_targets_have_no_loss_and_no_gradient() {
    for (name, decoder, trainable) in models() {
        let prompts = [vec![3, 1, 4, 1, 5], vec![9, 2]].map(|ids| Sequence::new(ids, 5));
        let rows: Vec<&Sequence> = prompts.iter().collect();
        let settings = LossSettings::new(trainable, 0);
        for how in [settings, by_layer(settings)] {
            let (loss, gradients) = loss_and_gradients(&decoder, &rows, 0, &how);
            assert_eq!((loss, gradients.global_norm()), (0.0, 0.0), "{name}");
        }
    }
}

/// How eight rows become micro-batches.
type Cut = fn(&[Sequence]) -> Vec<Vec<Sequence>>;

/// The losses of 50 steps of AdamW, on eight of the rows each.
fn trajectory(mut decoder: Decoder, rows: &[Sequence], cut: Cut, how: &LossSettings) -> Vec<f64> {
    let mut optimizer = Optimizer::new(OptimConfig { kind: OptimKind::Adamw, ..OptimConfig::default() });
    let mut losses = Vec::new();
    for step in 0..50 {
        let window: Vec<Sequence> = (8 * step..8 * step + 8).map(|at| rows[at % rows.len()].clone()).collect();
        let parts = cut(&window);
        let parts: Vec<Vec<&Sequence>> = parts.iter().map(|part| part.iter().collect()).collect();
        let micro_batches: Vec<&[&Sequence]> = parts.iter().map(Vec::as_slice).collect();
        let (means, mut gradients) = window_gradients((&decoder, &Followers::default()), &micro_batches, how);
        gradients.clip(1.0);
        optimizer.step(&mut decoder, how.backward.trainable, &gradients, 1e-3);
        losses.push(means.loss);
    }
    losses
}

/// I1, I2 and I4 over many steps, where what no single step shows adds up: however the rows of a step are cut, packed and
/// gone back through, the losses stay together, and do not lie to one side (bounds of TRL's invariants).
#[test]
fn i1_a_trajectory_is_the_same_however_its_rows_are_cut() {
    let row = |index: usize| {
        let id = |at| (uniform(11, index as u64, at) * 320.0) as u32;
        Sequence::new((0..5 + index * 7 % 12).map(id).collect(), 1 + index % 3)
    };
    let rows: Vec<Sequence> = (0..24).map(row).collect();
    let whole: Cut = |rows| vec![rows.to_vec()];
    let alone: Cut = |rows| rows.chunks(1).map(<[Sequence]>::to_vec).collect();
    let packed: Cut = |rows| rows.chunks(4).map(|part| vec![Sequence::packed(part)]).collect();
    let chosen = |(name, ..): &(String, Decoder, Trainable)| ["llama", "dora-rslora"].contains(&name.as_str());
    for (name, decoder, trainable) in models().into_iter().filter(chosen) {
        let settings = LossSettings::new(trainable, 0);
        let wanted = trajectory(decoder.clone(), &rows, whole, &settings);
        // Three steps go once through all rows.
        assert!(wanted[47..].iter().sum::<f64>() < wanted[..3].iter().sum::<f64>(), "{name} learns nothing");
        for (what, cut, how) in [
            ("one by one", alone, settings),
            ("packed", packed, settings),
            ("layer by layer", whole, by_layer(settings)),
            ("packed and layer by layer", packed, by_layer(settings)),
        ] {
            let found = trajectory(decoder.clone(), &rows, cut, &how);
            let residuals: Vec<f64> = found.iter().zip(&wanted).map(|(found, wanted)| found - wanted).collect();
            let largest = residuals.iter().fold(0.0_f64, |largest, residual| largest.max(residual.abs()));
            let mean = residuals.iter().sum::<f64>() / 50.0;
            assert!(largest < 1e-3 && mean.abs() < 1e-5, "{name}, {what}: off by {largest}, {mean} in the mean");
        }
    }
}
