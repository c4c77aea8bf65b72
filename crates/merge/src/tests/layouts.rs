//! Plans: which tensors are merged into which, and what is refused.

use serde_json::{Value, json};

use super::recipe;
use crate::*;

/// A model with embeddings, layers of two tensors, a last norm and, unless tied, a head.
fn model(name: &str, layers: usize, rows: usize, tied: bool) -> ModelTensors {
    let mut tensors = vec![("model.embed_tokens.weight".to_string(), vec![rows, 4])];
    for layer in 0..layers {
        tensors.push((format!("model.layers.{layer}.mlp.up_proj.weight"), vec![6, 4]));
        tensors.push((format!("model.layers.{layer}.self_attn.q_proj.weight"), vec![4, 4]));
        tensors.push((format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq"), vec![2]));
    }
    tensors.push(("model.norm.weight".into(), vec![4]));
    if !tied {
        tensors.push(("lm_head.weight".into(), vec![rows, 4]));
    }
    ModelTensors { name: name.into(), layers, tensors }
}

fn mean() -> Value {
    json!({"merge_method": "linear", "models": [{"model": "a"}, {"model": "b"}], "parameters": {"weight": 1}})
}

fn refusals(config: &Value, models: &[ModelTensors]) -> Vec<String> {
    match plan(&recipe(config), models, None) {
        Err(MergeError::Plan(problems)) => problems.iter().map(Problem::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn slices_are_numbered_anew_and_ends_come_from_the_outer_ones() {
    let config = json!({"merge_method": "passthrough", "slices": [
        {"sources": [{"model": "a", "layer_range": [0, 2]}]},
        {"sources": [{"model": "b", "layer_range": [1, 3], "parameters": {"scale": [0.5, 1.5]}}]},
    ]});
    let plan = plan(&recipe(&config), &[model("a", 2, 8, false), model("b", 3, 8, false)], None).unwrap();
    assert_eq!((plan.layers, plan.tied), (4, false));
    assert_eq!(names(&plan)[0], "model.embed_tokens.weight");
    assert_eq!(names(&plan)[9..], ["model.norm.weight", "lm_head.weight"]);
    let sources: Vec<String> =
        plan.tensors.iter().map(|tensor| format!("{} {}", tensor.sources[0].model, tensor.sources[0].tensor)).collect();
    assert_eq!(sources[0], "a model.embed_tokens.weight");
    assert_eq!(sources[5], "b model.layers.1.mlp.up_proj.weight");
    assert_eq!(sources[7], "b model.layers.2.mlp.up_proj.weight");
    assert_eq!(sources[9], "b model.norm.weight");
    assert_eq!(plan.tensors[7].name, "model.layers.3.mlp.up_proj.weight");
    let scales = [0, 5, 7, 9].map(|at: usize| match plan.tensors[at].operation {
        Operation::Copy { scale } => scale,
        _ => Some(f64::NAN),
    });
    assert_eq!(scales, [None, Some(0.5), Some(1.5), Some(0.5)]);
    assert!(plan.tensors[0].copied().is_some() && plan.tensors[5].copied().is_none());
}

#[test]
fn a_tied_head_is_its_embeddings_unless_all_are_tied() {
    let untied = plan(&recipe(&mean()), &[model("a", 1, 8, true), model("b", 1, 8, false)], None).unwrap();
    let head = untied.tensors.iter().find(|tensor| tensor.name == "lm_head.weight").unwrap();
    assert_eq!(head.sources[0].tensor, "model.embed_tokens.weight");
    assert_eq!(head.sources[1].tensor, "lm_head.weight");
    assert!(!untied.tied);
    let tied = plan(&recipe(&mean()), &[model("a", 1, 8, true), model("b", 1, 8, true)], None).unwrap();
    assert!(tied.tied && !names(&tied).contains(&"lm_head.weight"));
}

#[test]
fn a_new_vocabulary_gives_embeddings_their_rows() {
    let mut config = mean();
    config["tokenizer_source"] = json!("union");
    let models = [model("a", 1, 8, false), model("b", 1, 9, false)];
    let united = plan(&recipe(&config), &models, Some(11)).unwrap();
    assert_eq!(united.tensors[0].shape, [11, 4]);
    assert_eq!((united.tensors[0].vocabulary, united.tensors[1].vocabulary), (true, false));
    assert_eq!(united.tensors[0].sources[1].shape, [9, 4]);
    assert_eq!(
        refusals(&config, &models),
        ["a new vocabulary is needed if and only if the configuration has a `tokenizer_source`"]
    );
}

#[test]
fn what_does_not_match_is_refused() {
    let found = refusals(&mean(), &[model("a", 1, 8, true), model("b", 1, 9, true)]);
    assert_eq!(
        found,
        ["model.embed_tokens.weight: [8, 4] in `a`, but [9, 4] in `b`; the vocabularies differ; unite them with \
          `tokenizer_source = \"union\"`"]
    );
    let mut other = model("b", 1, 8, true);
    other.tensors[1].1 = vec![6, 5];
    other.tensors.remove(2);
    other.tensors.push(("model.layers.0.bias".into(), vec![1]));
    assert_eq!(
        refusals(&mean(), &[model("a", 1, 8, true), other]),
        [
            "model.layers.0.bias: `b` has it, and `a` has not",
            "model.layers.0.mlp.up_proj.weight: [6, 4] in `a`, but [6, 5] in `b`; only models of one shape can be merged",
            "model.layers.0.self_attn.q_proj.weight: `b` has no tensor `model.layers.0.self_attn.q_proj.weight`",
        ]
    );
    assert_eq!(
        refusals(&mean(), &[model("a", 2, 8, true), model("b", 3, 8, true)]),
        ["models: `a` has 2 layers and `b` 3; name the layers to merge in `slices`"]
    );
    assert_eq!(
        refusals(&mean(), &[model("a", 2, 8, true)]),
        ["the configuration names `b`, which is not among the models"]
    );
    let slices = json!({"merge_method": "passthrough",
        "slices": [{"sources": [{"model": "a", "layer_range": [0, 1]}]}, {"sources": [{"model": "a", "layer_range": [2, 4]}]}]});
    assert_eq!(refusals(&slices, &[model("a", 3, 8, true)]), ["slices[1]: `a` has 3 layers, and [2, 4] ends behind"]);
    let mut doubled = model("a", 1, 8, true);
    doubled.tensors.push(("model.norm.weight".into(), vec![4]));
    doubled.layers = 0;
    let found = refusals(&mean(), &[doubled, model("b", 1, 8, true)]);
    assert!(found.contains(&"model.norm.weight: `a` has two tensors of this name".into()), "{found:?}");
    let layer = "model.layers.0.mlp.up_proj.weight: `a` has it, but only 0 layers";
    assert!(found.contains(&layer.into()), "{found:?}");
    let many =
        refusals(&mean(), &[model("a", 20, 8, true), ModelTensors { tensors: Vec::new(), ..model("b", 20, 8, true) }]);
    let error =
        MergeError::Plan(many.iter().map(|line| Problem { place: String::new(), message: line.clone() }).collect());
    assert!(error.to_string().ends_with(&format!("and {} more like these", many.len() - 12)), "{error}");
}

#[test]
fn numbers_that_cannot_be_are_refused_with_the_tensor() {
    let mut config = mean();
    config["models"][0]["parameters"] = json!({"weight": -1});
    let found = refusals(&config, &[model("a", 0, 8, true), model("b", 0, 8, true)]);
    assert_eq!(
        found[0],
        "model.embed_tokens.weight: the weights add up to 0; choose others, or set `normalize` to false"
    );
    config["models"][0]["parameters"] = json!({"weight": 1});
    config["parameters"] = json!({"weight": [{"filter": "mlp", "value": 0.5}]});
    let found = refusals(&config, &[model("a", 1, 8, true), model("b", 1, 8, true)]);
    assert_eq!(
        found[0],
        "model.embed_tokens.weight: `b`: none of the filters of `weight` fits; end its list with a `value` without a filter"
    );
}
