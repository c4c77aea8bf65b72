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

const KINDS: [OptimKind; 10] = [
    OptimKind::Exadam,
    OptimKind::ExadamV1,
    OptimKind::Adamw,
    OptimKind::Adam,
    OptimKind::Adafactor,
    OptimKind::Lion,
    OptimKind::Muon,
    OptimKind::Sgd,
    OptimKind::Rmsprop,
    OptimKind::Adadelta,
];

/// Elements 0, 5 and 11 of the path.
type Path = [[f64; 3]; 5];

/// Paths of PyTorch 2.15's optimizers in float64 on the same gradients: `torch.optim.Adam(p, lr=1e-2, weight_decay=0.1)`
/// and so on, the parameter of shape [4, 3].
#[test]
fn adam_sgd_rmsprop_and_adadelta_take_pytorch_s_paths() {
    use OptimKind::{Adadelta, Adam, Rmsprop, Sgd};
    let none = OptimArgs::default();
    let [decayed, plain] = [0.1, 0.0];
    let cases: [(OptimKind, OptimArgs, f64, f64, Path); 7] = [
        (Adam, none, 1e-2, decayed, ADAM),
        (Sgd, OptimArgs { momentum: Some(0.9), ..none }, 1e-2, decayed, SGD_MOMENTUM),
        (Sgd, none, 1e-2, plain, SGD),
        (Rmsprop, none, 1e-2, decayed, RMSPROP),
        (Rmsprop, OptimArgs { alpha: Some(0.9), eps: Some(1e-3), ..none }, 1e-2, plain, RMSPROP_SHORT),
        (Adadelta, none, 1.0, decayed, ADADELTA),
        (Adadelta, OptimArgs { rho: Some(0.8), eps: Some(1e-4), ..none }, 0.5, plain, ADADELTA_SHORT),
    ];
    for (kind, args, rate, weight_decay, expected) in cases {
        let config = OptimConfig { kind, args, weight_decay, ..OptimConfig::default() };
        let found = path(config, &[4, 3], &start(), &gradients(), rate);
        for (found, expected) in found.iter().zip(&expected) {
            assert_near(&[found[0], found[5], found[11]], expected, 1e-10, &format!("{kind:?}"));
        }
        let biases = OptimConfig { decays_vectors: true, ..config };
        assert_eq!(path(biases, &[12], &start(), &gradients(), rate), found, "{kind:?} of a vector that decays");
        let undecayed = OptimConfig { weight_decay: 0.0, ..config };
        let vector = path(config, &[12], &start(), &gradients(), rate);
        assert_eq!(vector, path(undecayed, &[4, 3], &start(), &gradients(), rate), "{kind:?} of a vector");
    }
}

const ADAM: Path = [
    [0.990_000_000_667, -0.220_795_799_058, -0.879_191_153_821],
    [0.980_819_351_316, -0.223_075_577_387, -0.884_203_035_307],
    [0.972_048_025_758, -0.220_792_449_093, -0.888_499_391_308],
    [0.966_870_519_375, -0.221_787_964_672, -0.886_224_517_197],
    [0.961_364_861_560, -0.225_509_358_335, -0.883_034_888_854],
];

const SGD_MOMENTUM: Path = [
    [0.998_500_000_000, -0.213_480_464_969, -0.888_354_964_395],
    [0.992_652_121_300, -0.214_426_271_469, -0.890_170_840_920],
    [0.985_774_298_576, -0.213_096_100_427, -0.891_982_302_813],
    [0.981_092_893_674, -0.213_842_352_543, -0.890_286_927_169],
    [0.975_642_493_672, -0.217_334_530_147, -0.887_684_051_395],
];

const SGD: Path = [
    [0.999_500_000_000, -0.213_691_260_769, -0.889_244_155_548],
    [0.996_000_621_300, -0.212_434_348_749, -0.892_700_956_444],
    [0.995_378_541_528, -0.210_467_378_128, -0.893_768_300_305],
    [0.997_872_951_375, -0.212_623_880_283, -0.891_334_591_261],
    [0.997_616_908_679, -0.215_658_273_335, -0.891_147_840_494],
];

const RMSPROP: Path = [
    [0.900_000_066_667, -0.310_795_762_182, -0.789_191_272_216],
    [0.805_301_135_040, -0.260_179_935_068, -0.884_655_840_512],
    [0.775_795_960_588, -0.201_605_866_185, -0.891_212_413_652],
    [0.809_421_156_307, -0.247_512_166_422, -0.814_408_464_498],
    [0.788_915_238_512, -0.302_464_361_297, -0.791_769_176_911],
];

const RMSPROP_SHORT: Path = [
    [0.970_258_256_424, -0.242_076_939_113, -0.908_997_187_860],
    [0.939_200_171_749, -0.229_055_408_600, -0.940_330_017_413],
    [0.933_480_021_706, -0.211_321_594_485, -0.950_027_070_065],
    [0.952_650_311_935, -0.228_491_859_881, -0.931_299_731_392],
    [0.950_581_445_449, -0.248_292_549_762, -0.929_787_332_025],
];

const ADADELTA: Path = [
    [0.996_838_424_834, -0.213_957_857_738, -0.886_031_133_862],
    [0.992_575_306_141, -0.211_721_519_909, -0.890_302_623_662],
    [0.990_505_722_495, -0.208_706_594_669, -0.890_724_831_902],
    [0.992_473_571_437, -0.211_530_790_822, -0.885_968_214_494],
    [0.990_792_625_985, -0.215_255_703_859, -0.884_006_549_371],
];

const ADADELTA_SHORT: Path = [
    [0.989_793_792_738, -0.221_942_948_177, -0.891_769_845_248],
    [0.974_807_741_282, -0.215_070_191_951, -0.903_218_711_622],
    [0.970_792_918_008, -0.205_088_527_998, -0.908_481_764_315],
    [0.983_666_255_124, -0.216_106_625_950, -0.898_152_165_261],
    [0.981_992_242_398, -0.230_117_804_983, -0.897_142_512_046],
];

/// The CPU's one pass and the tensor operations of other devices are the same to the bit.
#[test]
fn adam_in_one_pass_equals_adam_by_tensors_to_the_bit() {
    let single = |seed: f64, scale: f64| -> Tensor<1> {
        let values: Vec<f32> = (0..40_000).map(|i| ((f64::from(i) * seed).sin() * scale) as f32).collect();
        Tensor::from_data(values.as_slice(), &Device::flex())
    };
    for kind in [OptimKind::Exadam, OptimKind::ExadamV1, OptimKind::Adamw, OptimKind::Adam] {
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
        let momentum = (kind == OptimKind::Sgd).then_some(0.9);
        let config = OptimConfig {
            kind,
            weight_decay: 0.01,
            loraplus_lr_ratio: Some(4.0),
            args: OptimArgs { momentum, ..OptimArgs::default() },
            ..OptimConfig::default()
        };
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
        // These two do not bring small gradients to the size of their rate.
        let rate = if matches!(kind, OptimKind::Sgd | OptimKind::Adadelta) { 1.0 } else { 1e-3 };
        let (mut case, mut optimizer) =
            (case("dora-rslora"), Optimizer::new(OptimConfig { kind, ..OptimConfig::default() }));
        let mut before = BTreeMap::new();
        case.decoder.visit_adapters(&mut |name, slot| drop(before.insert(name.to_string(), to_host(slot.flat()))));
        let (_, gradients) = case.step_gradients();
        optimizer.step(&mut case.decoder, Trainable::Adapters, &gradients, rate);
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
    let args = OptimArgs { momentum: Some(0.9), eps: Some(1e-6), ..OptimArgs::default() };
    assert_eq!((args.unused(OptimKind::Sgd), args.unused(OptimKind::Adadelta)), (vec!["eps"], vec!["momentum"]));
}

/// What is planned for before a run is what there is after a step.
#[test]
fn the_state_of_every_optimizer_is_as_large_as_foreseen() {
    for kind in KINDS {
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

/// Vectors of a small network: those with a gradient move, and go on from a checkpoint to the bit.
#[test]
fn vectors_that_are_no_decoder_s_move_and_resume() {
    type Vectors = BTreeMap<String, Tensor<1>>;
    let vector = |values: [f32; 3]| Tensor::<1>::from_data(TensorData::from(values), &Device::flex());
    let begin = || -> Vectors { [("a".into(), vector([1.0, 2.0, 3.0])), ("b".into(), vector([0.5; 3]))].into() };
    let steps = |optimizer: &mut Optimizer, vectors: &mut Vectors, from: i32, to: i32| {
        for step in from..to {
            let gradients = Gradients::of([("a".to_string(), vector([0.1, -0.2, f64::from(step) as f32]))].into_iter());
            let all = vectors.iter_mut().map(|(name, values)| Vector { name, shape: &[3, 1], values });
            optimizer.step_vectors(all, &gradients, 0.1);
        }
    };
    let config = OptimConfig::default();
    let (mut optimizer, mut vectors) = (Optimizer::new(config), begin());
    steps(&mut optimizer, &mut vectors, 1, 3);
    let wip = tempfile::tempdir().unwrap();
    let host = |vectors: &Vectors| -> Vec<gazal_lm::weights::Named> {
        vectors.iter().map(|(name, values)| (name.clone(), vec![3], to_host(values.clone()))).collect()
    };
    crate::save_vectors(wip.path(), &host(&vectors), (&optimizer, &json!({"at": 2})), 1).unwrap();
    steps(&mut optimizer, &mut vectors, 3, 5);

    let checkpoint = latest_checkpoint(wip.path()).unwrap().unwrap();
    assert_eq!((checkpoint.step, &checkpoint.extra), (2, &json!({"at": 2})));
    let mut resumed = Optimizer::new(config);
    let saved = checkpoint.restore_vectors(&mut resumed, &Device::flex()).unwrap();
    let tensor = |values: &Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &Device::flex());
    let mut again: Vectors = saved.iter().map(|(name, values)| (name.clone(), tensor(values))).collect();
    steps(&mut resumed, &mut again, 3, 5);
    assert_eq!(host(&again), host(&vectors));
    assert_eq!(to_host(again["b"].clone()), [0.5; 3], "no gradient, no step");
    assert_ne!(to_host(again["a"].clone()), [1.0, 2.0, 3.0]);
}
