//! Optimizers against the reference paths of EXAdam, and against the papers' formulas written out in loops of float64;
//! each resumed from a checkpoint to the bit.
#![allow(clippy::unwrap_used)]

use burn::tensor::TensorData;
use gazal_lm::weights::to_host;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::case;
use crate::{Snapshot, latest_checkpoint, save_checkpoint};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn double(values: Vec<f64>) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), (&Device::flex(), DType::F64))
}

/// The path of a parameter of a shape in float64.
fn path(config: OptimConfig, shape: &[usize], theta: &[f64], gradients: &[Vec<f64>], rate: f64) -> Vec<Vec<f64>> {
    let mut optimizer = Optimizer::new(config);
    let mut theta = double(theta.to_vec());
    let mut path = Vec::new();
    for gradient in gradients {
        optimizer.step += 1;
        theta = optimizer.update(Parameter { name: "theta", shape }, theta, double(gradient.clone()), rate);
        path.push(theta.clone().into_data().try_into_vec::<f64>().unwrap());
    }
    path
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < tolerance, "{a} is not {b} in {what}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

/// `fixtures/optim/exadam.json`: float64 paths of both versions.
#[test]
fn exadam_fixture_paths() {
    let value = crate::fixtures::json("optim/exadam.json");
    let cases = value["cases"].as_array().unwrap();
    for case in cases {
        let options = &case["options"];
        let number = |name: &str, default: f64| options[name].as_f64().unwrap_or(default);
        let dynamic = options["dynamic"].as_bool().unwrap_or(false);
        let config = OptimConfig {
            kind: if dynamic { OptimKind::ExadamV1 } else { OptimKind::Exadam },
            beta1: number("b1", 0.9),
            beta2: number("b2", 0.999),
            epsilon: number("eps", 1e-8),
            weight_decay: number("wd", 0.0),
            ..OptimConfig::default()
        };
        let theta = numbers(&case["theta0"]);
        let gradients: Vec<Vec<f64>> = case["grads"].as_array().unwrap().iter().map(numbers).collect();
        let found = path(config, &[theta.len(), 1], &theta, &gradients, case["lr"].as_f64().unwrap());
        for (found, expected) in found.iter().zip(case["path"].as_array().unwrap()) {
            assert_near(found, &numbers(expected), 1e-10, &options.to_string());
        }
    }
    assert!(cases.len() >= 12, "only {} cases", cases.len());
}

/// Gradients of a matrix [4, 3] over five steps.
fn gradients() -> Vec<Vec<f64>> {
    let at = |step: usize, index: usize| ((step * 12 + index) as f64 * 1.7).sin() * 0.3 + 0.05;
    (0..5).map(|step| (0..12).map(|index| at(step, index)).collect()).collect()
}

fn start() -> Vec<f64> {
    (0..12).map(|index| (f64::from(index) * 0.9).cos()).collect()
}

#[test]
fn adamw_is_the_formula_of_its_paper() {
    let config = OptimConfig { kind: OptimKind::Adamw, weight_decay: 0.1, ..OptimConfig::default() };
    let (rate, mut theta, mut m, mut v) = (1e-2, start(), [0.0; 12], [0.0; 12]);
    let found = path(config, &[4, 3], &theta, &gradients(), rate);
    for (step, gradient) in gradients().iter().enumerate() {
        let t = i32::try_from(step).unwrap() + 1;
        for i in 0..12 {
            m[i] = 0.9 * m[i] + 0.1 * gradient[i];
            v[i] = 0.999 * v[i] + 0.001 * gradient[i].powi(2);
            let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
            theta[i] -= rate * 0.1 * theta[i];
            theta[i] -= rate * m_hat / (v_hat.sqrt() + 1e-8);
        }
        assert_near(&found[step], &theta, 1e-12, "AdamW");
    }
    let single: Vec<Vec<f64>> = [0.5, -0.2, 0.1, 0.3, 0.0].map(|gradient| vec![gradient]).to_vec();
    let adam = path(OptimConfig { weight_decay: 0.0, ..config }, &[1], &[1.0], &single, 1e-3).concat();
    let expected = [0.999_000_000_020, 0.998_654_394_181, 0.998_275_002_408, 0.997_723_057_318, 0.997_256_537_860];
    assert_near(&adam, &expected, 1e-11, "Adam's numbers");
}

#[test]
fn lion_is_the_formula_of_its_paper() {
    let config = OptimConfig { kind: OptimKind::Lion, beta2: 0.99, weight_decay: 0.1, ..OptimConfig::default() };
    let (rate, mut theta, mut m) = (1e-3, start(), [0.0; 12]);
    let found = path(config, &[4, 3], &theta, &gradients(), rate);
    for (step, gradient) in gradients().iter().enumerate() {
        for i in 0..12 {
            let c: f64 = 0.9 * m[i] + 0.1 * gradient[i];
            theta[i] -= rate * (c.signum() + 0.1 * theta[i]);
            m[i] = 0.99 * m[i] + 0.01 * gradient[i];
        }
        assert_near(&found[step], &theta, 1e-12, "Lion");
    }
}

#[test]
fn adafactor_is_the_formula_of_its_paper() {
    for (shape, decay) in [(vec![4, 3], 0.1), (vec![12], 0.0)] {
        let config = OptimConfig { kind: OptimKind::Adafactor, weight_decay: 0.1, ..OptimConfig::default() };
        let (rate, mut theta, mut v) = (1e-2, start(), [0.0; 12]);
        let (mut row, mut column) = ([0.0; 4], [0.0; 3]);
        let found = path(config, &shape, &theta, &gradients(), rate);
        for (step, g) in gradients().iter().enumerate() {
            let keep = 1.0 - (step as f64 + 1.0).powf(-0.8);
            let squares: Vec<f64> = g.iter().map(|g| g * g + 1e-30).collect();
            for (i, row) in row.iter_mut().enumerate() {
                *row = keep * *row + (1.0 - keep) * (0..3).map(|j| squares[3 * i + j]).sum::<f64>() / 3.0;
            }
            for (j, column) in column.iter_mut().enumerate() {
                *column = keep * *column + (1.0 - keep) * (0..4).map(|i| squares[3 * i + j]).sum::<f64>() / 4.0;
            }
            for i in 0..12 {
                v[i] = keep * v[i] + (1.0 - keep) * squares[i];
            }
            let mean_row = row.iter().sum::<f64>() / 4.0;
            let second = |i: usize| if shape.len() == 2 { row[i / 3] * column[i % 3] / mean_row } else { v[i] };
            let update: Vec<f64> = (0..12).map(|i| g[i] / second(i).sqrt()).collect();
            let size = (update.iter().map(|u| u * u).sum::<f64>() / 12.0).sqrt();
            for i in 0..12 {
                theta[i] -= rate * decay * theta[i];
                theta[i] -= rate * update[i] / size.max(1.0);
            }
            assert_near(&found[step], &theta, 1e-12, "Adafactor");
        }
    }
}

/// Of wide, tall and square matrices, and of the rest.
#[test]
fn muon_is_the_formula_of_its_authors() {
    for [rows, columns] in [[4, 3], [3, 4], [2, 6]] {
        let config = OptimConfig { kind: OptimKind::Muon, weight_decay: 0.1, ..OptimConfig::default() };
        let (rate, mut theta, mut m) = (1e-2, start(), [0.0; 12]);
        let found = path(config, &[rows, columns], &theta, &gradients(), rate);
        for (step, g) in gradients().iter().enumerate() {
            let mut ahead = vec![0.0; 12];
            for i in 0..12 {
                m[i] = 0.95 * m[i] + 0.05 * g[i];
                ahead[i] = 0.05 * g[i] + 0.95 * m[i];
            }
            let step_of = newton_schulz(&ahead, rows, columns);
            for i in 0..12 {
                theta[i] -= rate * 0.1 * theta[i];
                theta[i] -= rate * 0.2 * (rows.max(columns) as f64).sqrt() * step_of[i];
            }
            assert_near(&found[step], &theta, 1e-10, "Muon");
        }
    }
    let [muon, adamw] = [OptimKind::Muon, OptimKind::Adamw].map(|kind| {
        let config = OptimConfig { kind, ..OptimConfig::default() };
        path(config, &[12], &start(), &gradients(), 1e-2)
    });
    assert_eq!(muon, adamw, "a vector is AdamW's");
}

fn newton_schulz(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-7;
    let mut x: Vec<f64> = matrix.iter().map(|x| x / norm).collect();
    let product = |a: &dyn Fn(usize, usize) -> f64, b: &dyn Fn(usize, usize) -> f64, [n, k, m]: [usize; 3]| {
        let at = |i: usize, j: usize| (0..k).map(|l| a(i, l) * b(l, j)).sum::<f64>();
        (0..n * m).map(|place| at(place / m, place % m)).collect::<Vec<f64>>()
    };
    for _ in 0..5 {
        // X (a + b XᵀX + c (XᵀX)²), whichever side is shorter.
        let gram = product(&|i, j| x[j * columns + i], &|i, j| x[i * columns + j], [columns, rows, columns]);
        let twice = product(&|i, j| gram[i * columns + j], &|i, j| gram[i * columns + j], [columns, columns, columns]);
        let factor = |i: usize, j: usize| -4.775 * gram[i * columns + j] + 2.0315 * twice[i * columns + j];
        let turned = product(&|i, j| x[i * columns + j], &factor, [rows, columns, columns]);
        x = x.iter().zip(turned).map(|(x, turned)| 3.4445 * x + turned).collect();
    }
    x
}

const KINDS: [OptimKind; 6] =
    [OptimKind::Exadam, OptimKind::ExadamV1, OptimKind::Adamw, OptimKind::Adafactor, OptimKind::Lion, OptimKind::Muon];

/// The CPU's one pass and the tensor operations of other devices are the same to the bit.
#[test]
fn adam_in_one_pass_equals_adam_by_tensors_to_the_bit() {
    let single = |seed: f64, scale: f64| -> Tensor<1> {
        let values: Vec<f32> = (0..40_000).map(|i| ((f64::from(i) * seed).sin() * scale) as f32).collect();
        Tensor::from_data(values.as_slice(), &Device::flex())
    };
    for kind in [OptimKind::Exadam, OptimKind::ExadamV1, OptimKind::Adamw] {
        for weight_decay in [0.0, 0.1] {
            let config = OptimConfig { kind, weight_decay, ..OptimConfig::default() };
            let (mut a, mut b) = (single(0.7, 1.0), single(0.7, 1.0));
            let (mut slots_a, mut slots_b) = (Slots::new(), Slots::new());
            for step in 1..4 {
                let parameter = Parameter { name: "theta", shape: &[200, 200] };
                let part = Move { config: &config, step, parameter, rate: 1e-3 };
                let gradient = single(1.3 + f64::from(step), 10_f64.powi(-2 * step));
                a = part.adam_in_one_pass(&mut slots_a, a, gradient.clone());
                b = part.adam_by_tensors(&mut slots_b, b, gradient);
                let bits = |tensor: &Tensor<1>| -> Vec<u32> {
                    to_host(tensor.clone()).into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(&a), bits(&b), "{kind:?}");
                assert_eq!(bits(&slots_a["second"]), bits(&slots_b["second"]), "{kind:?}");
            }
        }
    }
}

/// I19, of the optimizers: a steps and b more are, to the bit, a steps, a checkpoint, and b more from it.
#[test]
fn i19_every_optimizer_resumes_to_the_bit() {
    for kind in KINDS {
        let config = OptimConfig { kind, weight_decay: 0.01, loraplus_lr_ratio: Some(4.0), ..OptimConfig::default() };
        let train = |case: &mut crate::fixtures::Case, optimizer: &mut Optimizer, steps: usize| {
            for _ in 0..steps {
                let (_, gradients) = case.step_gradients();
                optimizer.step(&mut case.decoder, Trainable::Adapters, &gradients, 1e-3);
            }
        };
        let parameters = |case: &mut crate::fixtures::Case| {
            let mut all = Vec::new();
            let mut keep = |name: &str, slot: gazal_lm::Slot| all.push((name.to_string(), to_host(slot.flat())));
            case.decoder.visit_adapters(&mut keep);
            all
        };
        let (mut undisturbed, mut optimizer) = (case("dora-rslora"), Optimizer::new(config));
        train(&mut undisturbed, &mut optimizer, 4);

        let wip = tempfile::tempdir().unwrap();
        let (mut before, mut first) = (case("dora-rslora"), Optimizer::new(config));
        train(&mut before, &mut first, 2);
        let snapshot = Snapshot {
            decoder: &before.decoder,
            trainable: Trainable::Adapters,
            optimizer: &first,
            reference: None,
            extra: &json!(null),
        };
        save_checkpoint(wip.path(), &snapshot, 1).unwrap();
        let (mut after, mut second) = (case("dora-rslora"), Optimizer::new(config));
        let checkpoint = latest_checkpoint(wip.path()).unwrap().unwrap();
        checkpoint.restore(&mut after.decoder, Trainable::Adapters, &mut second).unwrap();
        train(&mut after, &mut second, 2);
        assert!(parameters(&mut after) == parameters(&mut undisturbed), "{kind:?} came out otherwise");
    }
}

/// I18, of the optimizers: every adapter parameter moves, whatever its shape.
#[test]
fn i18_every_optimizer_moves_every_adapter_parameter() {
    for kind in KINDS {
        let (mut case, mut optimizer) =
            (case("dora-rslora"), Optimizer::new(OptimConfig { kind, ..OptimConfig::default() }));
        let mut before = BTreeMap::new();
        case.decoder.visit_adapters(&mut |name, slot| drop(before.insert(name.to_string(), to_host(slot.flat()))));
        let (_, gradients) = case.step_gradients();
        optimizer.step(&mut case.decoder, Trainable::Adapters, &gradients, 1e-3);
        case.decoder.visit_adapters(&mut |name, slot| {
            assert!(to_host(slot.flat()) != before[name], "{name} did not move with {kind:?}");
        });
    }
}

/// LoRA+: B matrices and magnitudes at the ratio's rate, A matrices at the rate itself.
#[test]
fn lora_plus_moves_b_matrices_and_magnitudes_faster() {
    let gradient = || double(vec![0.5; 4]);
    let moved = |name: &str, shape: &[usize], loraplus_lr_ratio| {
        let config = OptimConfig { kind: OptimKind::Lion, loraplus_lr_ratio, ..OptimConfig::default() };
        let mut optimizer = Optimizer::new(config);
        optimizer.step = 1;
        let theta = optimizer.update(Parameter { name, shape }, double(vec![0.0; 4]), gradient(), 0.01);
        theta.into_data().try_into_vec::<f64>().unwrap()[0]
    };
    assert_eq!(moved("x.q_proj.lora_A.weight", &[2, 2], Some(16.0)), -0.01);
    assert_eq!(moved("x.q_proj.lora_B.weight", &[2, 2], Some(16.0)), -0.16);
    assert_eq!(moved("x.q_proj.lora_magnitude_vector", &[4], Some(16.0)), -0.16);
    assert_eq!(moved("x.q_proj.lora_B.weight", &[2, 2], None), -0.01);
}

/// Steps below the last bit of a bfloat16 add up in its float32 copy, which is part of the saved state.
#[test]
fn steps_too_small_for_half_precision_add_up() {
    let config = OptimConfig { kind: OptimKind::Lion, ..OptimConfig::default() };
    let mut optimizer = Optimizer::new(config);
    let half = || Tensor::<1>::from_data(TensorData::from([1.0_f32, -1.0]), &Device::flex()).cast(DType::BF16);
    let gradient = || Tensor::<1>::from_data(TensorData::from([-1.0_f32, 1.0]), &Device::flex());
    let mut theta = half();
    for _ in 0..16 {
        optimizer.step += 1;
        theta = optimizer.update(Parameter { name: "theta", shape: &[2] }, theta, gradient(), 1e-3);
    }
    assert_eq!(theta.dtype(), DType::BF16);
    // 1.016 lies between 1.015625 and 1.0234375, the neighbours in bfloat16; a lone step of 0.001 leaves 1.
    assert_eq!(to_host(theta), [1.015_625, -1.015_625]);
    assert!(optimizer.state().1.iter().any(|(name, ..)| name == "master.theta"));
}

#[test]
fn arguments_of_other_optimizers_are_found() {
    let args = OptimArgs { momentum: Some(0.9), decay_rate: Some(-0.5), ..OptimArgs::default() };
    assert_eq!(args.unused(OptimKind::Muon), ["decay_rate"]);
    assert_eq!(args.unused(OptimKind::Exadam), ["momentum", "decay_rate"]);
}

/// What is planned for before a run is what there is after a step.
#[test]
fn the_state_of_every_optimizer_is_as_large_as_foreseen() {
    use OptimKind::{Adafactor, Adamw, Exadam, ExadamV1, Lion, Muon};
    for kind in [Exadam, ExadamV1, Adamw, Adafactor, Lion, Muon] {
        for (name, shape) in
            [("model.norm.weight", vec![6]), ("a.lora_A.weight", vec![2, 3]), ("lm_head.weight", vec![2, 3])]
        {
            let mut optimizer = Optimizer::new(OptimConfig { kind, ..OptimConfig::default() });
            let values = || Tensor::<1>::from_data([0.5_f32, -1.0, 2.0, 0.1, 0.2, 0.3], &Device::flex());
            optimizer.step = 1;
            optimizer.update(Parameter { name, shape: &shape }, values(), values(), 1e-3);
            let kept: usize = optimizer.state().1.iter().map(|(.., values)| values.len()).sum();
            assert_eq!(kept, kind.state_numbers(name, &shape), "{kind:?}, {name}");
        }
    }
}
