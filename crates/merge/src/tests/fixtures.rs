//! Cases of the reference set (plain formulas in PyTorch, and PEFT), and of mergekit itself (`tests/bench/mergekit`).

use serde_json::{Map, Value, json};

use super::{compare, merged, none};
use crate::fixture;
use crate::tests::recipe;
use crate::*;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn narrow(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

/// `models` with weights, and more of the configuration.
fn weighted(method: &str, weights: &[(&str, f64)], rest: &Value) -> Value {
    let models = weights.iter().map(|(model, weight)| json!({"model": model, "parameters": {"weight": weight}}));
    let mut config = json!({"merge_method": method, "models": models.collect::<Value>()});
    for (key, value) in rest.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn the_fixture_files_of_merges_come_out() {
    let told = fixture::json("merge/expected.json");
    let base = fixture::tensors("merge/base.safetensors");
    let models = [0, 1, 2].map(|at| fixture::tensors(&format!("merge/model{at}.safetensors")));
    let weights: Vec<(&str, f64)> = ["0", "1", "2"].into_iter().zip(numbers(&told["weights"])).collect();
    let lambda = &told["task_arithmetic_lambda"];
    let ties = json!({"base_model": "b", "parameters": told["ties"]});
    let slerp = json!({"merge_method": "slerp", "base_model": "0", "models": [{"model": "0"}, {"model": "1"}],
        "parameters": {"t": told["slerp"]["t"]}});
    let arithmetic = json!({"base_model": "b", "parameters": {"lambda": lambda}});
    let configs = [
        ("linear", weighted("linear", &weights, &json!({}))),
        ("task_arithmetic", weighted("task_arithmetic", &weights, &arithmetic)),
        ("slerp_t0.4", slerp),
        ("ties_density0.5", weighted("ties", &weights, &ties)),
    ];
    let mut ran = 0;
    for (name, config) in configs {
        for (tensor, (shape, expected)) in fixture::tensors(&format!("merge/expected_{name}.safetensors")) {
            let of = |at: usize| models[at][&tensor].1.as_slice();
            let given = [("b", base[&tensor].1.as_slice()), ("0", of(0)), ("1", of(1)), ("2", of(2))];
            let found = merged(&config, &shape, &given, &none).unwrap();
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            let (most, close) = compare(&found, &expected);
            assert!(close, "{name} {tensor}: {most}");
            ran += 1;
        }
    }
    assert_eq!(ran, 12);
}

#[test]
fn the_fixture_vectors_of_merges_come_out() {
    let told = fixture::json("vectors/merge.json");
    let shape: Vec<usize> = numbers(&told["base"]["shape"]).into_iter().map(|number| number as usize).collect();
    let [base, one, two] = ["base", "x1", "x2"].map(|name| narrow(&told[name]["data"]));
    let doubled: Vec<f32> = one.iter().map(|number| 2.0 * number).collect();
    let weights: Vec<(&str, f64)> = ["x1", "x2"].into_iter().zip(numbers(&told["weights"])).collect();
    let ties = |variant: &str| {
        let parameters = json!({"density": told["density"], "ties_variant": variant});
        weighted("ties", &weights, &json!({"base_model": "base", "parameters": parameters}))
    };
    let slerp = |other: &str, t: f64| json!({"merge_method": "slerp", "base_model": "x1", "models": [{"model": other}], "parameters": {"t": t}});
    let cases = [
        ("linear_normalized", weighted("linear", &weights, &json!({}))),
        ("task_arithmetic", weighted("task_arithmetic", &weights, &json!({"base_model": "base"}))),
        ("slerp_t0.3", slerp("x2", 0.3)),
        ("slerp_colinear_lerp", slerp("doubled", 0.3)),
        ("ties_peft", ties("peft")),
        ("ties_mergekit", ties("mergekit")),
    ];
    for (name, config) in &cases {
        let given = [("base", &base[..]), ("x1", &one), ("x2", &two), ("doubled", &doubled)];
        let found = merged(config, &shape, &given, &none).unwrap();
        let (most, close) = compare(&found, &numbers(&told[*name]["data"]));
        assert!(close, "{name}: {most}");
    }
    assert_eq!(cases.len(), 6);
}

/// A case of mergekit's as a configuration. Lists are one number for each model.
fn config(case: &Value) -> Value {
    let (mut shared, mut own) = (Map::new(), vec![Map::new(); case["models"].as_array().unwrap().len()]);
    for (name, value) in case["parameters"].as_object().unwrap() {
        match value.as_array() {
            Some(values) => {
                own.iter_mut().zip(values).for_each(|(own, value)| drop(own.insert(name.clone(), value.clone())))
            }
            None => drop(shared.insert(name.clone(), value.clone())),
        }
    }
    let models = own.into_iter().enumerate().map(|(at, own)| json!({"model": at.to_string(), "parameters": own}));
    let models: Value = models.collect();
    let mut config = json!({"merge_method": case["method"], "models": models, "parameters": shared});
    if !case["base"].is_null() {
        config["base_model"] = json!("base");
    }
    config
}

#[test]
fn the_fixture_of_mergekits_numbers_comes_out() {
    let told = fixture::json("vectors/mergekit.json");
    let cases = told["merges"].as_array().unwrap();
    let mut largest: f64 = 0.0;
    for (at, case) in cases.iter().enumerate() {
        let shape: Vec<usize> = numbers(&case["shape"]).into_iter().map(|number| number as usize).collect();
        let base = if case["base"].is_null() { Vec::new() } else { narrow(&case["base"]) };
        let models: Vec<(String, Vec<f32>)> = case["models"]
            .as_array()
            .unwrap()
            .iter()
            .map(narrow)
            .enumerate()
            .map(|(at, x)| (at.to_string(), x))
            .collect();
        let mut given: Vec<(&str, &[f32])> = models.iter().map(|(name, x)| (name.as_str(), x.as_slice())).collect();
        if !base.is_empty() {
            given.push(("base", &base));
        }
        // mergekit draws for sources of a density below 1 alone.
        let uniform: Vec<Vec<f64>> = case["uniform"].as_array().unwrap().iter().map(numbers).collect();
        let random = |source: usize, index: u64| uniform[source][index as usize];
        let found = merged(&config(case), &shape, &given, &random).unwrap();
        let (most, close) = compare(&found, &numbers(&case["expected"]));
        assert!(close, "case {at}, {} {} {shape:?}: {most}", case["method"], case["parameters"]);
        let size = numbers(&case["expected"]).into_iter().fold(0.0, |size: f64, number| size.max(number.abs()));
        largest = largest.max(most / size.max(1.0));
    }
    assert_eq!(cases.len(), 147);
    // The rounding of results to float32, and of DARE's differences, which mergekit narrows whatever its `dtype`.
    assert!(largest > 0.0 && largest < 2e-7, "{largest}");
}

/// The shapes of the small models that mergekit planned with.
fn qwen(name: &str) -> ModelTensors {
    let layer = |at: usize| {
        ["input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm", "self_attn.q_proj"]
            .into_iter()
            .chain(["self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"])
            .chain(["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"])
            .map(move |part| format!("model.layers.{at}.{part}.weight"))
    };
    let outside = ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"].map(String::from);
    let tensors = outside.into_iter().chain((0..4).flat_map(layer)).map(|name| (name, vec![2, 2])).collect();
    ModelTensors { name: name.into(), layers: 4, tensors }
}

/// The numbers of an operation as mergekit names them, those of the whole and those of each source.
fn resolved(operation: &Operation) -> (Map<String, Value>, Vec<Map<String, Value>>) {
    let map = |value: Value| value.as_object().cloned().unwrap();
    match operation {
        Operation::Slerp { t } => (map(json!({"t": t})), vec![Map::new()]),
        Operation::Copy { scale } => (Map::new(), vec![map(json!({"scale": scale}))]),
        Operation::TaskVectors(vectors) => {
            let rescale = vectors.rescale != Rescale::None;
            let shared = json!({"normalize": vectors.normalize, "lambda": vectors.lambda, "rescale": rescale});
            let own = vectors.parts.iter().map(|part| match part.keep {
                Keep::All => json!({"weight": part.weight, "density": 1.0}),
                Keep::Largest { density } | Keep::Random { density } => {
                    json!({"weight": part.weight, "density": density})
                }
                Keep::Middle { density, gamma } => json!({"weight": part.weight, "density": density, "gamma": gamma}),
            });
            (map(shared), own.map(map).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn assert_same(found: &Map<String, Value>, told: &Value, place: &str) {
    for (name, value) in found {
        match (value.as_f64(), told[name].as_f64()) {
            (Some(found), Some(told)) => assert!((found - told).abs() < 1e-12, "{place} {name}: {found}, not {told}"),
            _ => assert_eq!(value, &told[name], "{place} {name}"),
        }
    }
}

#[test]
fn the_fixture_of_mergekits_plans_comes_out() {
    let told = fixture::json("vectors/mergekit.json");
    let (mut tensors, plans) = (0, told["plans"].as_array().unwrap());
    for case in plans {
        let recipe = MergeConfig::from_yaml(case["config"].as_str().unwrap()).unwrap().check().unwrap();
        let plan = plan(&recipe, &["A", "B", "C"].map(qwen), None).unwrap();
        let expected = case["tensors"].as_array().unwrap();
        assert_eq!(plan.tensors.len(), expected.len(), "{}", case["case"]);
        for told in expected {
            let name = told["name"].as_str().unwrap();
            let found = plan.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            let place = format!("{} {name}", case["case"]);
            let all = found.base.iter().chain(&found.sources).map(|source| json!([source.model, source.tensor]));
            let (mut all, mut sources) = (all.collect::<Vec<_>>(), told["sources"].as_array().unwrap().clone());
            all.sort_by_key(Value::to_string);
            sources.sort_by_key(Value::to_string);
            assert_eq!(all, sources, "{place}");
            assert_eq!(json!(found.base.as_ref().map(|base| &base.model)), told["base"], "{place}");
            tensors += 1;
            if let Operation::Nuslerp { t, .. } = found.operation {
                let weight = |model: &str| told["own"][model]["weight"].as_f64().unwrap();
                assert!((t - weight("C") / (weight("B") + weight("C"))).abs() < 1e-12, "{place}: {t}");
                continue;
            }
            let (shared, own) = resolved(&found.operation);
            assert_same(&shared, &told["shared"], &place);
            for (own, source) in own.iter().zip(&found.sources) {
                assert_same(own, &told["own"][&source.model], &place);
            }
        }
    }
    assert_eq!((plans.len(), tensors), (5, 246));
    assert!(
        recipe(&json!({"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"weight": 1}})).models()
            == ["a"]
    );
}
