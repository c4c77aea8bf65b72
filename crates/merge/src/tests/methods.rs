//! Invariants of the methods.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{merged, none};
use crate::*;

/// A grid of 4 × 6 numbers of different magnitudes, and 0 as its base.
fn grid() -> Vec<f32> {
    (1..=24).map(|at| if at % 3 == 0 { -(at as f32) } else { at as f32 } / 8.0).collect()
}

fn pseudo(seed: u64, index: u64) -> f64 {
    // SplitMix64's output function.
    let mut bits = (index ^ seed << 32).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn uniform(source: usize, index: u64) -> f64 {
    pseudo(source as u64 + 1, index)
}

/// One model beside a base of 0, with parameters; what is left is what was kept.
fn thinned(method: &str, parameters: &Value) -> Vec<f32> {
    let config =
        json!({"merge_method": method, "base_model": "b", "models": [{"model": "a"}], "parameters": parameters});
    merged(&config, &[4, 6], &[("a", &grid()), ("b", &[0.0; 24])], &uniform).unwrap()
}

fn left(numbers: &[f32]) -> usize {
    numbers.iter().filter(|number| **number != 0.0).count()
}

#[test]
fn identical_models_stay_as_they_are() {
    let base = json!("a");
    let cases = [
        json!({"merge_method": "linear", "models": [{"model": "a"}, {"model": "c"}], "parameters": {"weight": 0.3}}),
        json!({"merge_method": "slerp", "base_model": base, "models": [{"model": "c"}], "parameters": {"t": 0.4}}),
        json!({"merge_method": "nuslerp", "models": [{"model": "a"}, {"model": "c"}], "parameters": {"weight": 0.7}}),
        json!({"merge_method": "model_stock", "base_model": base, "models": [{"model": "c"}, {"model": "d"}]}),
    ];
    let families =
        ["task_arithmetic", "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties"].map(|method| {
            json!({"merge_method": method, "base_model": base, "models": [{"model": "c"}, {"model": "d"}],
                "parameters": {"weight": 0.9, "lambda": 1.7}})
        });
    let numbers: Vec<f32> = (0..24).map(|index| (pseudo(5, index) - 0.5) as f32).collect();
    let given = ["a", "c", "d"].map(|name| (name, numbers.as_slice()));
    for config in cases.iter().chain(&families) {
        let found = merged(config, &[4, 6], &given, &uniform).unwrap();
        let close = found.iter().zip(&numbers).all(|(found, number)| (found - number).abs() <= 1e-7 * number.abs());
        assert!(close, "{config}: {found:?}");
    }
}

#[test]
fn slerp_ends_at_its_ends() {
    let (one, two) = (grid(), grid().into_iter().rev().collect::<Vec<f32>>());
    for (t, end) in [(0, &one), (1, &two)] {
        let config =
            json!({"merge_method": "slerp", "base_model": "a", "models": [{"model": "b"}], "parameters": {"t": t}});
        assert_eq!(&merged(&config, &[4, 6], &[("a", &one), ("b", &two)], &none).unwrap(), end);
    }
}

#[test]
fn ties_of_one_whole_model_is_task_arithmetic() {
    let numbers: Vec<f32> = (0..24).map(|index| pseudo(3, index) as f32).collect();
    let given = [("a", grid()), ("b", numbers)];
    let given: Vec<(&str, &[f32])> = given.iter().map(|(name, numbers)| (*name, numbers.as_slice())).collect();
    let run = |method: &str, rest: Value| {
        let mut parameters = json!({"weight": 0.6, "lambda": 1.5});
        parameters.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let config =
            json!({"merge_method": method, "base_model": "b", "models": [{"model": "a"}], "parameters": parameters});
        merged(&config, &[24], &given, &none).unwrap()
    };
    assert_eq!(run("ties", json!({"normalize": false})), run("task_arithmetic", json!({})));
    assert_eq!(run("ties", json!({"density": 1.0})), run("task_arithmetic", json!({"normalize": true})));
    let whole = json!({"merge_method": "task_arithmetic", "base_model": "b", "models": [{"model": "a"}], "parameters": {"weight": 1}});
    assert_eq!(merged(&whole, &[24], &given, &none).unwrap(), grid());
}

#[test]
fn as_many_are_kept_as_density_says() {
    for (density, count) in [(1.0, 24), (0.5, 12), (0.26, 6), (0.01, 1)] {
        let kept = thinned("ties", &json!({"weight": 1, "density": density}));
        assert_eq!(left(&kept), count, "{density}");
        // The largest magnitudes are the last of the grid.
        assert_eq!(kept[24 - count..], grid()[24 - count..], "{density}");
    }
    // 2 outliers of 24 go, then 12 stay; where less than that would be left, fewer outliers go.
    let kept = thinned("breadcrumbs", &json!({"weight": 1, "density": 0.5, "gamma": 0.1}));
    assert_eq!(kept[10..22], grid()[10..22]);
    assert_eq!(left(&kept), 12);
    let kept = thinned("breadcrumbs", &json!({"weight": 1, "density": 0.75, "gamma": 0.5}));
    assert_eq!(kept[..18], grid()[..18]);
    assert_eq!(left(&kept), 18);
    let whole = thinned("breadcrumbs", &json!({"weight": 1, "density": 1, "gamma": 0.5}));
    assert_eq!(whole, grid());
    assert_eq!(thinned("dare_linear", &json!({"weight": 1, "density": 1})), grid());
}

#[test]
fn rescaling_gives_the_norm_back() {
    let sum = |numbers: &[f32]| numbers.iter().map(|number| f64::from(number.abs())).sum::<f64>();
    for method in ["ties", "breadcrumbs", "dare_linear"] {
        let kept = thinned(method, &json!({"weight": 1, "density": 0.5, "rescale": true}));
        assert!((sum(&kept) / sum(&grid()) - 1.0).abs() < 1e-6, "{method}");
        let kept = thinned(method, &json!({"weight": 1, "density": 0.5, "rescale": false}));
        assert!(kept.iter().zip(grid()).all(|(kept, number)| *kept == 0.0 || *kept == number), "{method}");
    }
    let kept = thinned("dare_linear", &json!({"weight": 1, "density": 0.5, "dare_rescale": "paper"}));
    assert!(kept.iter().zip(grid()).all(|(kept, number)| *kept == 0.0 || *kept == 2.0 * number));
}

#[test]
fn chance_keeps_the_expectation() {
    let ones = vec![1.0; 24];
    let config = json!({"merge_method": "dare_linear", "base_model": "b", "models": [{"model": "a"}],
        "parameters": {"weight": 1, "density": 0.3, "dare_rescale": "paper"}});
    let mut sums = [0.0; 24];
    for seed in 0..1000 {
        let random = |_: usize, index: u64| pseudo(seed + 77, index);
        let found = merged(&config, &[24], &[("a", &ones), ("b", &[0.0; 24])], &random).unwrap();
        sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += f64::from(found) / 1000.0);
    }
    // The mean of 1000 draws of 1/0.3 with chance 0.3 has a standard deviation of 0.048.
    assert!(sums.iter().all(|mean| (mean - 1.0).abs() < 0.2), "{sums:?}");
    assert!((sums.iter().sum::<f64>() / 24.0 - 1.0).abs() < 0.04, "{sums:?}");
}

#[test]
fn opposite_vectors_are_mixed_and_not_blown_up() {
    let (one, two) = (grid(), grid().into_iter().map(|number| -number).collect::<Vec<f32>>());
    for flags in [json!({"weight": 1}), json!({"weight": 1, "nuslerp_flatten": false})] {
        let config =
            json!({"merge_method": "nuslerp", "models": [{"model": "a"}, {"model": "b"}], "parameters": flags});
        let found = merged(&config, &[4, 6], &[("a", &one), ("b", &two)], &none).unwrap();
        assert!(found.iter().all(|number| number.abs() < 1e-6), "{found:?}");
    }
}

#[test]
fn what_is_no_number_is_refused_with_its_place() {
    let config = json!({"merge_method": "breadcrumbs", "base_model": "b", "models": [{"model": "a"}],
        "parameters": {"weight": 1, "density": 0.5, "gamma": 0.1}});
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut broken = vec![1.0; 100_000];
        broken[70_001] = value;
        broken[99_999] = value;
        let error = merged(&config, &[100_000], &[("a", &broken), ("b", &vec![0.0; 100_000])], &none).unwrap_err();
        let expected = MergeError::NotFinite {
            model: "a".into(),
            tensor: "x.weight".into(),
            index: 70_001,
            value: value.to_string(),
        };
        assert_eq!(error, expected);
    }
    let config = json!({"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"weight": 1e30, "normalize": false}});
    let error = merged(&config, &[2], &[("a", &[1.0, 1e30])], &none).unwrap_err();
    assert_eq!(error, MergeError::Overflow { tensor: "x.weight".into(), index: 1 });
}

#[test]
fn sources_of_another_length_are_refused() {
    let config = json!({"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"weight": 1}});
    let tensor = super::planned(&config, &[4], &[("a", &[0.0; 4])]);
    let (short, whole, write) = (vec![0.0; 3], vec![0.0; 4], |_: usize, _: &[f32]| Ok(()));
    let inputs = Inputs { base: None, sources: vec![&short] };
    let error = merge(&tensor, &inputs, &none, &write).unwrap_err();
    assert_eq!(error.to_string(), "tensor `x.weight`: its shape has 4 numbers, a source 3");
    let inputs = Inputs { base: Some(&whole), sources: vec![&whole] };
    assert!(merge(&tensor, &inputs, &none, &write).is_err());
    let empty =
        json!({"merge_method": "slerp", "base_model": "a", "models": [{"model": "b"}], "parameters": {"t": 0.5}});
    assert_eq!(merged(&empty, &[0, 4], &[("a", &[]), ("b", &[])], &none).unwrap(), [0.0_f32; 0]);
}

#[test]
fn numbers_do_not_depend_on_threads() {
    let length = 200_003;
    let tensor = |seed: u64| (0..length).map(|index| (pseudo(seed, index) - 0.5) as f32).collect::<Vec<f32>>();
    let given = [("b", tensor(1)), ("c", tensor(2)), ("d", tensor(3))];
    let given: Vec<(&str, &[f32])> = given.iter().map(|(name, numbers)| (*name, numbers.as_slice())).collect();
    for method in ["nuslerp", "ties", "dare_ties", "breadcrumbs", "model_stock"] {
        let own = if method == "model_stock" { json!({}) } else { json!({"weight": 0.6}) };
        let models = ["c", "d"].map(|name| json!({"model": name, "parameters": own}));
        let rescale = ["ties", "dare_ties", "breadcrumbs"].contains(&method);
        let shared = if rescale { json!({"density": 0.4, "rescale": true}) } else { json!({}) };
        let config = json!({"merge_method": method, "base_model": "b", "models": models, "parameters": shared});
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| merged(&config, &[length as usize], &given, &uniform).unwrap())
        };
        assert_eq!(run(1), run(3), "{method}");
    }
}

/// Numbers whose sums and products are exact, so that an order of summing cannot be told from another.
fn eighths(length: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40..40_i32).prop_map(|number| number as f32 / 8.0), length)
}

proptest! {
    #[test]
    fn the_order_of_models_does_not_matter(
        tensors in prop::collection::vec(eighths(30), 4),
        weights in prop::collection::vec(1..8_u8, 3),
        density in 0.05..1.0_f64,
        method in prop::sample::select(vec!["linear", "task_arithmetic", "ties", "breadcrumbs_ties"]),
    ) {
        let names = ["a", "c", "d"];
        let given: Vec<(&str, &[f32])> =
            ["b"].iter().chain(&names).copied().zip(tensors.iter().map(Vec::as_slice)).collect();
        let run = |order: [usize; 3]| {
            let weight = |at: usize| f64::from(weights[at]) / 4.0;
            let models = order.map(|at| json!({"model": names[at], "parameters": {"weight": weight(at)}}));
            let mut config = json!({"merge_method": method, "models": models});
            if method != "linear" {
                config["base_model"] = json!("b");
            }
            if method.ends_with("ties") {
                config["parameters"] = json!({"density": density});
            }
            merged(&config, &[5, 6], &given, &none).unwrap()
        };
        let first = run([0, 1, 2]);
        prop_assert_eq!(&first, &run([2, 0, 1]));
        prop_assert_eq!(&first, &run([1, 0, 2]));
    }

    #[test]
    fn a_mean_lies_between_its_models(tensors in prop::collection::vec(eighths(12), 2), weight in 0.0..1.0_f64) {
        let config = json!({"merge_method": "linear", "models": [
            {"model": "a", "parameters": {"weight": weight}}, {"model": "b", "parameters": {"weight": 1.0 - weight}}]});
        let found = merged(&config, &[12], &[("a", &tensors[0]), ("b", &tensors[1])], &none).unwrap();
        for ((found, one), two) in found.iter().zip(&tensors[0]).zip(&tensors[1]) {
            prop_assert!((one.min(*two) - 1e-6..=one.max(*two) + 1e-6).contains(found));
        }
    }
}

/// Numbers of which those from an index on cannot be read.
struct CutShort(usize);

impl Numbers for CutShort {
    fn len(&self) -> usize {
        100_000
    }

    fn read(&self, start: usize, into: &mut [f32]) -> Result<(), String> {
        into.fill(1.0);
        if start + into.len() > self.0 { Err("the file is cut short".into()) } else { Ok(()) }
    }
}

#[test]
fn what_cannot_be_read_or_written_is_told_with_its_tensor() {
    let lengths: [(&str, &[f32]); 2] = [("a", &[0.0; 100_000]), ("b", &[0.0; 100_000])];
    for (method, parameters) in [
        ("task_arithmetic", json!({"weight": 1})),
        ("slerp", json!({"t": 0.5})),
        ("ties", json!({"weight": 1, "density": 0.5})),
        ("dare_ties", json!({"weight": 1, "density": 0.5})),
        ("breadcrumbs", json!({"weight": 1, "density": 0.5, "gamma": 0.1})),
    ] {
        let config = json!({
            "merge_method": method, "base_model": "a", "models": [{"model": "b"}], "parameters": parameters,
        });
        let tensor = super::planned(&config, &[100_000], &lengths);
        let merge_of = |readable: usize, write: Write<'_>| {
            let numbers = CutShort(readable);
            let sources = tensor.sources.iter().map(|_| &numbers as &dyn Numbers).collect();
            let inputs = Inputs { base: tensor.base.as_ref().map(|_| &numbers as &dyn Numbers), sources };
            merge(&tensor, &inputs, &|_, _| 0.5, write).map_err(|error| error.to_string())
        };
        let cut = merge_of(50_000, &|_, _| Ok(()));
        assert_eq!(cut.unwrap_err(), "tensor `x.weight`: the file is cut short", "{method}");
        let full = merge_of(100_000, &|_, _| Err("the disk is full".into()));
        assert_eq!(full.unwrap_err(), "tensor `x.weight`: the disk is full", "{method}");
    }
}
