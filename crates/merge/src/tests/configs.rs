//! Configurations as people write them, and what is said of those that are wrong.

use serde_json::json;

use super::problems;
use crate::*;

const GRADIENTS: &str = "
# layers of two models of one size
slices:
  - sources:
      - model: org/first-7B
        layer_range: [0, 32]
      - model: org/second-7B
        layer_range: [0, 32]
merge_method: slerp
base_model: org/first-7B
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5 # fallback for rest of tensors
dtype: bfloat16
";

const TIES: &str = "
models:
  - model: org/base
    # no parameters necessary for base model
  - model: org/chat
    parameters:
      density: 0.53
      weight: 0.4
  - model: org/code+org/code-lora
    parameters:
      density: 0.53
      weight: 1e-1
merge_method: dare_ties
base_model: org/base
parameters:
  int8_mask: true
  normalize: true
tokenizer_source: union
out_dtype: float16
chat_template: chatml
";

const FRANKEN: &str = r#"
dtype: "float16"
merge_method: passthrough
slices:
- sources: [{layer_range: [0, 16], model: a}]
- sources:
  - {layer_range: [8, 24], model: b, parameters: {scale: [{filter: o_proj, value: 0.5}, {value: 1.0}]}}
"#;

const ANCHORS: &str = "
merge_method: linear
parameters: &shared
  weight: 1.0
models: &models
  - model: one
  - model: two
    parameters: *shared
tokenizer:
  source: two
";

#[test]
fn files_as_people_write_them_are_read() {
    let recipe = |yaml: &str| MergeConfig::from_yaml(yaml).unwrap().check().unwrap();
    let slerp = recipe(GRADIENTS);
    assert_eq!((slerp.method, slerp.dtype), (Method::Slerp, Some(Dtype::Bfloat16)));
    assert_eq!(slerp.models(), ["org/first-7B", "org/second-7B"]);
    let ties = recipe(TIES);
    assert_eq!((ties.method, ties.dtype), (Method::DareTies, Some(Dtype::Float16)));
    assert_eq!(ties.tokenizer, Some(TokenizerSource::Union));
    assert_eq!(ties.models(), ["org/base", "org/chat", "org/code+org/code-lora"]);
    assert_eq!(ties.chat_template.as_deref(), Some("chatml"));
    let franken = recipe(FRANKEN);
    assert_eq!((franken.method, franken.base.as_str()), (Method::Passthrough, "a"));
    let anchors = recipe(ANCHORS);
    assert_eq!(anchors.tokenizer, Some(TokenizerSource::Model("two".into())));
    assert_eq!(anchors.models(), ["one", "two"]);
}

#[test]
fn toml_and_json_say_the_same() {
    let value = json!({"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": [0, 1]}}]});
    let yaml = "{merge_method: linear, models: [{model: a, parameters: {weight: [0, 1]}}]}";
    let config = MergeConfig::from_value(&value).unwrap();
    assert_eq!(config, MergeConfig::from_yaml(yaml).unwrap());
    assert_eq!(serde_json::to_value(&config).unwrap(), value);
    assert_eq!(config.check(), MergeConfig::from_yaml(yaml).unwrap().check());
}

#[test]
fn an_editors_schema_knows_keys_and_methods() {
    let schema = serde_json::to_value(schemars::schema_for!(MergeConfig)).unwrap();
    assert_eq!(schema["additionalProperties"], json!(false));
    assert!(schema["properties"].get("unknown").is_none() && schema["properties"].get("slices").is_some());
    assert!(schema["required"].as_array().unwrap().contains(&json!("merge_method")));
    assert!(schema.to_string().contains("breadcrumbs_ties"));
}

#[test]
fn all_mistakes_are_told_at_once_with_place_and_remedy() {
    let found = problems(
        "
merge_metod: ties
merge_method: ties
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: half, density: 0, gamma: 0.1, normalize: true}, weight: 1}
  - {model: b}
  - {model: c, parameters: {weight: '0.5', density: [0.5, 1.5]}}
base_model: a
parameters: {lambda: [], ties_variant: paper, densty: 0.5, normalize: 1}
dtype: int8
tokenizer: {source: z, tokens: {x: {source: b}}}
modules: {}
",
    );
    assert_eq!(
        found,
        [
            "merge_metod: unknown key; did you mean `merge_method`?",
            "modules: models of several modules are not merged here; merge each with `models` or `slices`",
            "dtype: `int8` cannot be written; there are float32, float16, bfloat16",
            "parameters.lambda: the list of values is empty",
            "parameters.ties_variant: \"paper\" is none of mergekit, peft",
            "parameters.densty: `ties` does not take it; remove it; did you mean `density`?",
            "parameters.normalize: 1 is neither true nor false",
            "models[0].parameters.weight: this model is the base, of which `ties` takes no `weight`; remove it",
            "models[1].weight: unknown key; there are model, parameters",
            "models[1].parameters.weight: \"half\" is no number",
            "models[1].parameters.density: 0 is not above 0 and at most 1; it is the share that is kept, so leave out \
             a model of which nothing is to be kept",
            "models[1].parameters.gamma: `ties` does not take it; remove it; there are weight, density, normalize, \
             rescale, lambda, ties_variant",
            "models[1].parameters.normalize: it is one for all models; write it into `parameters` of the whole merge \
             or of the slice",
            "models[3].parameters.weight: \"0.5\" is no number; write it without quotes",
            "models[3].parameters.density[1]: 1.5 is not above 0 and at most 1; it is the share that is kept, so \
             leave out a model of which nothing is to be kept",
            "models: `b` is named twice; give it one entry with the sum of the weights",
            "models: `weight` is missing for `b`; give it to them or to the whole merge",
            "tokenizer.tokens: rows of single tokens cannot be chosen; an absent token gets the base's row, or the \
             mean of those models that have it",
            "tokenizer.source: `z` is neither `base` nor `union` nor one of the models",
        ]
    );
}

#[test]
fn methods_say_what_they_miss() {
    let cases = [
        ("models: [{model: a}]", "merge_method: is missing; it is one of linear, slerp, nuslerp, task_arithmetic"),
        (
            "{merge_method: slrep, models: [{model: a}]}",
            "merge_method: there is no method `slrep`; did you mean `slerp`?",
        ),
        (
            "{merge_method: karcher, models: [{model: a}]}",
            "merge_method: there is no method `karcher`; there are linear",
        ),
        ("merge_method: linear", "models: is missing; list the models to merge, or `slices` of them"),
        (
            "{merge_method: linear, models: [], parameters: {weight: 1}}",
            "models: `linear` merges at least 1 models; there are 0",
        ),
        (
            "{merge_method: slerp, base_model: a, models: [{model: b}]}",
            "parameters: `t` is missing; give it to the merge or the slice",
        ),
        (
            "{merge_method: ties, models: [{model: a, parameters: {weight: 1}}]}",
            "base_model: `ties` needs it: the model that differences are taken from",
        ),
        (
            "{merge_method: model_stock, base_model: a, models: [{model: a}, {model: b}]}",
            "models: `model_stock` merges at least 2 models beside the base; there are 1",
        ),
        (
            "{merge_method: slerp, base_model: a, models: [{model: b}, {model: c}], parameters: {t: 0.5}}",
            "models: `slerp` merges exactly 1 models beside the base; there are 2",
        ),
        (
            "{merge_method: linear, base_model: z, models: [{model: a, parameters: {weight: 1}}]}",
            "base_model: `linear` takes no differences from a base, so `z` is a model as any other; list it in `models`",
        ),
        (
            "{merge_method: slerp, base_model: a, models: [{model: b}], parameters: {t: {filter: mlp, value: 2}}}",
            "parameters.t.value: 2 is not between 0 and 1",
        ),
        (
            "{merge_method: slerp, base_model: a, models: [{model: b}], parameters: {t: [{filter: mlp}, 0.5]}}",
            "parameters.t[0]: `value` is missing",
        ),
        (
            "{merge_method: slerp, base_model: a, models: [{model: b}], parameters: {t: [{value: 1}, 0.5]}}",
            "parameters.t[1]: a list has either values or tables `{filter, value}`, not both",
        ),
    ];
    for (yaml, expected) in cases {
        let found = problems(yaml);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{yaml}: {found:#?}");
    }
}

#[test]
fn slices_say_what_is_wrong_with_them() {
    let found = problems(
        "
merge_method: ties
base_model: a
models: [{model: a}]
slices: []
",
    );
    assert_eq!(found, ["slices: there are `models` too; merge either whole models or slices of them"]);
    let found = problems(
        "
merge_method: nuslerp
base_model: a
parameters: {weight: 1}
slices:
  - sources: [{model: b, layer_range: [0, 4]}, {model: c, layer_range: [4, 2], layers: 3}]
    residual_weight: 1
",
    );
    assert_eq!(
        found,
        [
            "slices[0].residual_weight: unknown key; there are sources, base_model, parameters",
            "slices[0].sources[1].layers: unknown key; did you mean `layer_range`?",
            "slices[0].sources[1].layer_range: [4, 2] has no layer; the second number is the first layer that is left \
             out",
            "slices[0].sources: all need equally many layers; these have 4, 0",
            "slices[0].sources: the base model `a` is not among them; add it with its `layer_range`",
        ]
    );
}

#[test]
fn values_of_a_wrong_type_are_told_with_their_place() {
    let error = |yaml: &str| MergeConfig::from_yaml(yaml).unwrap_err().to_string();
    let text = error("{merge_method: linear, models: [{model: a}, {name: b}]}");
    assert_eq!(text, "models[1]: missing field `model`");
    let text = error("{slices: [{sources: [{model: a, layer_range: 3}]}]}");
    assert!(text.starts_with("slices[0].sources[0].layer_range: invalid type"), "{text}");
    let text = error("merge_method: linear\nmodels: [\n");
    assert!(text.starts_with("this is no YAML:"), "{text}");
    let text = error("{merge_method: linear, merge_method: ties}");
    assert!(text.starts_with("this is no YAML:") && text.contains("merge_method"), "{text}");
}
