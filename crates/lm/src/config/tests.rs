#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::rope::Scaling;

fn file(model_type: &str) -> Value {
    json!({
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    })
}

/// A file with other values in some fields; `null` takes a field away.
fn with(model_type: &str, changes: Value) -> Value {
    let (Value::Object(mut fields), Value::Object(changes)) = (file(model_type), changes) else { panic!() };
    for (name, value) in changes {
        match value {
            Value::Null => fields.remove(&name),
            value => fields.insert(name, value),
        };
    }
    Value::Object(fields)
}

#[test]
fn every_family_has_what_its_name_says() {
    let read = |model_type: &str, changes| Config::from_json(with(model_type, changes)).unwrap();
    let llama = read("llama", json!({}));
    assert_eq!((llama.head_dim, llama.qkv_bias, llama.output_bias, llama.qk_norm), (16, false, false, false));
    let biased = read("llama", json!({ "attention_bias": true, "mlp_bias": true }));
    assert_eq!((biased.qkv_bias, biased.output_bias, biased.mlp_bias), (true, true, true));
    let qwen2 = read("qwen2", json!({}));
    assert_eq!((qwen2.head_dim, qwen2.qkv_bias, qwen2.output_bias, qwen2.qk_norm), (16, true, false, false));
    let qwen3 = read("qwen3", json!({ "num_key_value_heads": null }));
    assert_eq!((qwen3.head_dim, qwen3.num_key_value_heads, qwen3.qk_norm), (128, 4, true));
    let hybrid = read("qwen3_5_text", json!({}));
    assert!(hybrid.attn_output_gate && hybrid.zero_centred_norms && hybrid.qk_norm);
    assert_eq!((hybrid.head_dim, hybrid.rope.dim), (256, 64));
    let full: Vec<bool> = hybrid.layer_types.iter().map(|layer| *layer == LayerType::FullAttention).collect();
    assert_eq!(full, [false, false, false, true, false, false, false, true]);
    let every_second = read("qwen3_5_text", json!({ "full_attention_interval": 2 }));
    assert_eq!(every_second.layer_types[1], LayerType::FullAttention);
}

#[test]
fn scaling_is_found_where_old_and_new_files_have_it() {
    let scaling = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64 });
    let old = Config::from_json(with("qwen3", json!({ "rope_scaling": &scaling }))).unwrap();
    let mut new = scaling;
    new["rope_theta"] = json!(10000.0);
    let new = Config::from_json(with("qwen3", json!({ "rope_theta": null, "rope_parameters": new }))).unwrap();
    assert_eq!(old.rope, new.rope);
    let Scaling::Yarn(yarn) = new.rope.scaling else { panic!("{:?}", new.rope) };
    assert_eq!((yarn.factor, yarn.original, yarn.beta_fast, yarn.beta_slow), (4.0, 64.0, 32.0, 1.0));
    let named = json!({ "rope_scaling": { "type": "yarn", "factor": 2.0 } });
    let Scaling::Yarn(yarn) = Config::from_json(with("llama", named)).unwrap().rope.scaling else { panic!() };
    assert_eq!(yarn.original, 256.0, "without a word of it the context is the original one");
    assert_eq!(Config::from_json(file("llama")).unwrap().rope.scaling, Scaling::None);
}

#[test]
fn what_is_not_supported_is_named_with_its_value_and_what_is() {
    let llama3 = |changes: Value| {
        let mut scaling =
            json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0 });
        scaling.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "rope_scaling": scaling })
    };
    let eight = |name: &str| json!({ "layer_types": vec![name; 8] });
    let cases: [(&str, Value, &[&str]); 27] = [
        ("mixtral", json!({}), &["`model_type`", "`mixtral`", "llama, qwen2, qwen3, qwen3_5_text, qwen3_5"]),
        ("llama", json!({ "model_type": null }), &["`model_type` is missing"]),
        ("llama", json!({ "hidden_size": null }), &["missing field `hidden_size`"]),
        ("llama", json!({ "hidden_size": "64" }), &["`hidden_size`", "\"64\""]),
        ("llama", json!({ "hidden_size": -64 }), &["`hidden_size`", "-64"]),
        ("llama", json!({ "hidden_size": 0 }), &["`hidden_size` is 0"]),
        ("llama", json!({ "vocab_size": 1_u64 << 40 }), &["`vocab_size` is 1099511627776"]),
        ("llama", json!({ "num_hidden_layers": 2_000_000_000 }), &["`num_hidden_layers` is 2000000000"]),
        ("llama", json!({ "num_key_value_heads": 3 }), &["`num_attention_heads` is 4", "`num_key_value_heads`, 3"]),
        ("llama", json!({ "rms_norm_eps": 0.0 }), &["`rms_norm_eps` is 0"]),
        ("qwen3", json!({ "hidden_act": "gelu" }), &["`hidden_act` is `gelu`", "supported is silu"]),
        ("qwen2", json!({ "use_sliding_window": true, "max_window_layers": 4 }), &["`use_sliding_window` is `true`"]),
        ("qwen2", eight("sliding_attention"), &["`layer_types[0]` is `sliding_attention`", "full_attention"]),
        ("llama", eight("linear_attention"), &["`layer_types[0]` is `linear_attention`"]),
        ("qwen3", json!({ "layer_types": ["full_attention"] }), &["`layer_types` has 1 entries", "is 8"]),
        ("qwen3", json!({ "quantization_config": { "quant_method": "gptq" } }), &["quantization_config", "`gptq`"]),
        ("qwen3_5_text", json!({ "attn_output_gate": false }), &["`attn_output_gate` is `false`"]),
        ("qwen3_5_text", json!({ "linear_num_value_heads": 24 }), &["`linear_num_value_heads` is 24"]),
        ("qwen3_5_text", json!({ "linear_conv_kernel_dim": 1 }), &["`linear_conv_kernel_dim` is 1"]),
        ("qwen3_5_text", json!({ "partial_rotary_factor": 0.005 }), &["`partial_rotary_factor` is 0.005"]),
        ("qwen3_5", json!({}), &["`text_config` is missing"]),
        ("llama", json!({ "rope_theta": 0.5 }), &["`rope_theta` is 0.5"]),
        (
            "llama",
            json!({ "rope_scaling": { "rope_type": "longrope" } }),
            &["`rope_scaling.rope_type`", "llama3, yarn"],
        ),
        ("llama", json!({ "rope_parameters": { "short_factor": [1] } }), &["`rope_parameters", "short_factor"]),
        ("llama", llama3(json!({ "factor": null })), &["`rope_scaling.factor` is missing"]),
        ("llama", llama3(json!({ "factor": -1.0 })), &["`rope_scaling.factor` is -1"]),
        ("llama", llama3(json!({ "high_freq_factor": 1.0 })), &["`rope_scaling.high_freq_factor` is 1"]),
    ];
    for (model_type, changes, wanted) in cases {
        let message = Config::from_json(with(model_type, changes)).unwrap_err().to_string();
        for part in wanted {
            assert!(message.contains(part), "`{message}` does not say `{part}`");
        }
    }
}

#[test]
fn a_message_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{ "model_type": "mamba" }"#).unwrap();
    let message = Config::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("config.json") && message.contains("`mamba`"), "{message}");
}

#[test]
fn a_window_that_no_layer_has_is_no_window() {
    let unused = json!({ "use_sliding_window": true, "max_window_layers": 8, "sliding_window": 4096 });
    Config::from_json(with("qwen2", unused)).unwrap();
    Config::from_json(with("qwen2", json!({ "use_sliding_window": false, "max_window_layers": 2 }))).unwrap();
}

#[test]
fn saving_keeps_what_nobody_here_knows() {
    let extra = json!({ "model_name": "mine", "sampling": { "temperature": 0.6 }, "torch_dtype": "bfloat16" });
    let config = Config::from_json(with("qwen3", extra)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    config.save(folder.path()).unwrap();
    let saved: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("config.json")).unwrap()).unwrap();
    let wanted = json!({ "model_name": "mine", "sampling": { "temperature": 0.6 }, "torch_dtype": "float32" });
    assert_eq!(saved, with("qwen3", wanted));
    assert_eq!(Config::load(folder.path()).unwrap().rope, config.rope);
}

#[test]
fn of_several_towers_the_text_tower_is_read_and_saved() {
    let mut inner = file("qwen3_5_text");
    inner["eos_token_id"] = Value::Null;
    let whole = json!({
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "model_type": "qwen3_5",
        "text_config": inner,
        "vision_config": { "depth": 27 },
        "image_token_id": 7,
        "tie_word_embeddings": true,
        "eos_token_id": 5,
        "dtype": "bfloat16",
    });
    let config = Config::from_json(whole).unwrap();
    assert!(config.tie_word_embeddings);
    let folder = tempfile::tempdir().unwrap();
    config.save(folder.path()).unwrap();
    let saved: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("config.json")).unwrap()).unwrap();
    let mut wanted = file("qwen3_5_text");
    wanted["architectures"] = json!(["Qwen3_5ForCausalLM"]);
    wanted["tie_word_embeddings"] = json!(true);
    wanted["eos_token_id"] = json!(5);
    wanted["dtype"] = json!("float32");
    assert_eq!(saved, wanted);
}
