//! Blocks and a whole file against the `gguf` package and transformers, damaged files against what is said of them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::blocks::Type;
use super::import_gguf;
use crate::fixtures::{assert_close, json as read};
use crate::weights::{Precision, Weights, to_host};
use crate::{ChatOptions, Decoder, TokenBatch, Tokenizer};

fn fixture(name: &str) -> PathBuf {
    crate::fixtures::folder("gguf").join(name)
}

fn unpacked(kind: Type, blocks: &[u8]) -> Vec<f32> {
    let mut out = Vec::new();
    kind.unpack(blocks, &mut out);
    out
}

#[test]
fn gguf_fixture_blocks() {
    let cases = read(&fixture("blocks.json"));
    for case in cases.as_array().unwrap() {
        let kind = Type::of(case["type"].as_u64().unwrap() as u32).unwrap();
        let hex = case["bytes"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let wanted: Vec<f32> = serde_json::from_value(case["values"].clone()).unwrap();
        assert_eq!(unpacked(kind, &bytes), wanted, "{}", case["name"]);
        assert_eq!(wanted.len() / kind.elements() * kind.bytes(), bytes.len());
    }
    assert_eq!(cases.as_array().unwrap().len(), 8);
}

/// Float16 of 0.5 and 2.
const HALF: [u8; 2] = [0x00, 0x38];
const TWO: [u8; 2] = [0x00, 0x40];

#[test]
fn blocks_are_what_their_formulas_say() {
    let mut quants = [0x88; 16];
    (quants[0], quants[15]) = (0xf0, 0x1e);
    let values = unpacked(Type::Q4_0, &[TWO.as_slice(), &quants].concat());
    // 2·(0 − 8), 2·(15 − 8), 2·(14 − 8), 2·(1 − 8), and 2·(8 − 8) elsewhere.
    assert_eq!([values[0], values[16], values[15], values[31]], [-16.0, 14.0, 12.0, -14.0]);
    assert!(values.iter().enumerate().all(|(at, &value)| [0, 15, 16, 31].contains(&at) || value == 0.0));

    let values = unpacked(Type::Q4_1, &[HALF.as_slice(), &TWO, &quants].concat());
    // 0.5·q + 2.
    assert_eq!([values[0], values[1], values[15], values[16], values[31]], [2.0, 6.0, 9.0, 9.5, 2.5]);

    let mut quants = [0; 32];
    (quants[0], quants[1], quants[31]) = (0x80, 0x7f, 0xff);
    let values = unpacked(Type::Q8_0, &[HALF.as_slice(), &quants].concat());
    assert_eq!([values[0], values[1], values[2], values[31]], [-64.0, 63.5, 0.0, -0.5]);
}

#[test]
fn blocks_of_256_are_what_their_formulas_say() {
    // Scales 0..4 are 1, 2, 3, 4 and minima 0..4 are 5, 6, 7, 8 in the low six bits. Scale 4 is 9 + 16·2 and its minimum
    // 10 + 16·1, the parts above 15 being the high two bits of scale 0 and minimum 0.
    let mut packed = [1, 2, 3, 4, 5, 6, 7, 8, 0xa9, 0, 0, 0];
    packed[0] |= 2 << 6;
    packed[4] |= 1 << 6;
    let mut quants = [0; 128];
    (quants[0], quants[33], quants[64]) = (0x73, 0x50, 0x0f);
    let values = unpacked(Type::Q4K, &[TWO.as_slice(), &HALF, &packed, &quants].concat());
    // 2·scale·q − 0.5·min
    assert_eq!([values[0], values[1], values[32]], [2.0 * 3.0 - 2.5, -2.5, 4.0 * 7.0 - 3.0]);
    assert_eq!([values[64], values[64 + 33], values[96]], [-3.5, 8.0 * 5.0 - 4.0, -4.0]);
    assert_eq!([values[128], values[129], values[160]], [82.0 * 15.0 - 13.0, -13.0, 0.0]);

    let (mut low, mut high, mut scales) = ([0; 128], [0; 64], [1_u8; 16]);
    (low[0], low[32], low[64]) = (0x5a, 0x07, 0xf0);
    (high[0], high[32]) = (0b11_10_01_00, 0b00_11_00_00);
    (scales[3], scales[12]) = (0xfe, 3);
    let values = unpacked(Type::Q6K, &[low.as_slice(), &high, &scales, &TWO].concat());
    // 2·scale·(low + 16·high − 32); scale 3 is −2 and holds for numbers 48 to 63, scale 12 is 3, for 192 to 207.
    assert_eq!([values[0], values[32], values[64], values[96]], [-44.0, -18.0, 10.0, 32.0]);
    assert_eq!([values[48], values[1], values[192]], [128.0, -64.0, 6.0 * (15.0 + 48.0 - 32.0)]);
}

fn fnv(values: &[f32]) -> String {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    let value = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |value, byte| (value ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{value:016x}")
}

#[test]
fn gguf_fixture_file_becomes_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    import_gguf(&fixture("tiny-llama.gguf"), folder.path(), Precision::F32).unwrap();
    let expected = read(&fixture("tiny-llama.json"));
    let weights = Weights::load_model(folder.path()).unwrap();
    let tensors = expected["tensors"].as_object().unwrap();
    assert_eq!(weights.names().count(), tensors.len());
    for (name, wanted) in tensors {
        let (shape, values) = weights.get(name).unwrap();
        assert_eq!(json!({"shape": shape, "fnv1a": fnv(values)}), *wanted, "{name}");
    }
    let decoder = Decoder::load(folder.path(), &Device::flex()).unwrap();
    let prompt: Vec<u32> = serde_json::from_value(expected["prompt"].clone()).unwrap();
    let logits = to_host(decoder.forward(&TokenBatch::right_padded(&[prompt], 0)));
    let wanted: Vec<f32> = serde_json::from_value(expected["logits"].clone()).unwrap();
    assert_close(&logits[logits.len() - wanted.len()..], &wanted, 1e-4, "logits");
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    for case in expected["texts"].as_array().unwrap() {
        assert_eq!(json!(tokenizer.encode(case["text"].as_str().unwrap()).unwrap()), case["ids"]);
    }
    // The pre-tokenizer `smollm` splits digits, so that the token `12` is never made.
    let digits = [tokenizer.encode("1").unwrap(), tokenizer.encode("2").unwrap()].concat();
    assert_eq!(tokenizer.encode("12").unwrap(), digits);
    assert_eq!(tokenizer.decode(&tokenizer.encode("<|im_start|>a <think>é").unwrap()).unwrap(), "a <think>é");
    assert_eq!((tokenizer.eos, tokenizer.eos_ids.as_slice(), tokenizer.pad), (2, [2, 0].as_slice(), 1));
    let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
    let prompt = tokenizer.encode_chat(&[json!({"role": "user", "content": "hi"})], &options).unwrap();
    assert_eq!(tokenizer.decode(&prompt).unwrap(), "user\nhi\nassistant\n");
}

#[test]
fn a_folder_has_the_models_fields() {
    let folder = tempfile::tempdir().unwrap();
    import_gguf(&fixture("tiny-llama.gguf"), folder.path(), Precision::Bf16).unwrap();
    assert_eq!(
        read(&folder.path().join("config.json")),
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 274, "hidden_size": 256,
            "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 16, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
            "rope_scaling": null, "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": true,
            "torch_dtype": "bfloat16", "mlp_bias": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        })
    );
    assert_eq!(
        read(&folder.path().join("generation_config.json")),
        json!({"bos_token_id": 1, "eos_token_id": [2, 0], "pad_token_id": 2})
    );
    let whole = tempfile::tempdir().unwrap();
    import_gguf(&fixture("tiny-llama.gguf"), whole.path(), Precision::F32).unwrap();
    let (half, whole) = (Weights::load_model(folder.path()).unwrap(), Weights::load_model(whole.path()).unwrap());
    for name in whole.names() {
        let rounded: Vec<f32> =
            whole.read(name).unwrap().into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect();
        assert_eq!(half.read(name).unwrap(), rounded, "{name}");
    }
}

/// A field as the file has it: type and value.
enum Item {
    U32(u32),
    F32(f32),
    Text(&'static str),
    Texts(Vec<&'static str>),
    Integers(Vec<i32>),
    Raw(u32, Vec<u8>),
}

fn text(value: &str) -> Vec<u8> {
    [(value.len() as u64).to_le_bytes().as_slice(), value.as_bytes()].concat()
}

fn list(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

impl Item {
    fn bytes(&self) -> Vec<u8> {
        let (kind, value) = match self {
            Item::U32(value) => (4_u32, value.to_le_bytes().to_vec()),
            Item::F32(value) => (6, value.to_le_bytes().to_vec()),
            Item::Text(value) => (8, text(value)),
            Item::Texts(values) => (9, list(8, &values.iter().map(|value| text(value)).collect::<Vec<_>>())),
            Item::Integers(values) => {
                (9, list(5, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>()))
            }
            Item::Raw(kind, value) => (*kind, value.clone()),
        };
        [kind.to_le_bytes().as_slice(), &value].concat()
    }
}

/// A model without the tensors of its one layer, with these fields and tensors changed, added, or (`None`) left out.
struct Model {
    fields: Vec<(&'static str, Item)>,
    /// Name, dimensions, type, offset.
    tensors: Vec<(&'static str, Vec<u64>, u32, u64)>,
    data: Vec<u8>,
}

impl Model {
    fn new() -> Model {
        let fields = vec![
            ("general.architecture", Item::Text("qwen3")),
            ("qwen3.block_count", Item::U32(1)),
            ("qwen3.embedding_length", Item::U32(32)),
            ("qwen3.feed_forward_length", Item::U32(8)),
            ("qwen3.context_length", Item::U32(64)),
            ("qwen3.attention.head_count", Item::U32(2)),
            ("qwen3.attention.layer_norm_rms_epsilon", Item::F32(1e-6)),
            ("tokenizer.ggml.model", Item::Text("gpt2")),
            ("tokenizer.ggml.pre", Item::Text("qwen2")),
            ("tokenizer.ggml.tokens", Item::Texts(vec!["a", "b", "ab", "<e>", "[PAD]"])),
            ("tokenizer.ggml.token_type", Item::Integers(vec![1, 1, 1, 3, 5])),
            ("tokenizer.ggml.merges", Item::Texts(vec!["a b"])),
            ("tokenizer.ggml.eos_token_id", Item::U32(3)),
        ];
        let tensors = vec![("token_embd.weight", vec![32, 5], 8, 0), ("output_norm.weight", vec![32], 0, 192)];
        Model { fields, tensors, data: vec![0; 320] }
    }

    fn with(mut self, name: &'static str, item: Item) -> Model {
        self.fields.retain(|(other, _)| *other != name);
        self.fields.push((name, item));
        self
    }

    fn without(mut self, name: &'static str) -> Model {
        self.fields.retain(|(other, _)| *other != name);
        self
    }

    fn tensor(mut self, name: &'static str, shape: &[u64], kind: u32, offset: u64) -> Model {
        self.tensors.retain(|(other, ..)| *other != name);
        self.tensors.push((name, shape.to_vec(), kind, offset));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.fields.len() as u64].map(u64::to_le_bytes).concat();
        let mut bytes = [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &counts].concat();
        for (name, item) in &self.fields {
            bytes.extend([text(name), item.bytes()].concat());
        }
        for (name, shape, kind, offset) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend([kind.to_le_bytes().as_slice(), &offset.to_le_bytes()].concat());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        [bytes, self.data.clone()].concat()
    }
}

fn import(bytes: &[u8]) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.gguf");
    fs::write(&file, bytes).unwrap();
    import_gguf(&file, &folder.path().join("out"), Precision::F32).map_err(|error| error.to_string())?;
    Ok(folder)
}

fn config(model: &Model) -> Value {
    read(&import(&model.bytes()).unwrap().path().join("out/config.json"))
}

#[test]
fn a_small_model_is_imported() {
    let folder = import(&Model::new().bytes()).unwrap();
    let weights = Weights::load_model(&folder.path().join("out")).unwrap();
    assert_eq!(weights.shape("model.embed_tokens.weight").unwrap(), [5, 32]);
    let tokenizer = Tokenizer::load(&folder.path().join("out")).unwrap();
    assert_eq!(tokenizer.encode("ab<e>a").unwrap(), [2, 3, 0]);
    assert_eq!(tokenizer.vocab_size(), 4);
    let config = config(&Model::new());
    assert_eq!((config["model_type"].as_str(), config["head_dim"].as_u64()), (Some("qwen3"), Some(16)));
}

#[test]
fn a_tensor_without_numbers_is_refused() {
    for (shape, name) in [([0, 32], "blk.0.attn_q.weight"), ([32, 0], "blk.0.attn_k.weight")] {
        let error = import(&Model::new().tensor(name, &shape, 0, 320).bytes()).unwrap_err();
        assert!(error.contains(&format!("tensor `{name}` is empty")), "{error}");
    }
}

#[test]
fn positions_are_scaled_as_the_file_says() {
    let scaled = |kind| {
        Model::new().with("qwen3.rope.scaling.type", Item::Text(kind)).with("qwen3.rope.scaling.factor", Item::F32(4.0))
    };
    assert_eq!(config(&scaled("none"))["rope_scaling"], Value::Null);
    let error = import(&scaled("linear").bytes()).unwrap_err();
    assert!(error.contains("`rope_scaling.rope_type` is `linear`"), "{error}");
    let yarn = scaled("yarn").with("qwen3.rope.scaling.original_context_length", Item::U32(16));
    let wanted = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16});
    assert_eq!(config(&yarn)["rope_scaling"], wanted);
    let error = import(&scaled("longrope").bytes()).unwrap_err();
    assert!(error.contains("`qwen3.rope.scaling.type` is `longrope`"), "{error}");
}

/// A model of 64 frequencies that are scaled as Llama 3.2 does, but one.
fn llama3(change: f64) -> Model {
    // The rule as transformers writes it: long wavelengths are scaled, short ones not, those between partly.
    let factor = |index: u32| {
        let wavelength = 2.0 * std::f64::consts::PI * 500000_f64.powf(f64::from(index) / 64.0);
        let smooth = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
        let inverse = match wavelength {
            long if long > 8192.0 => 1.0 / 32.0,
            short if short < 8192.0 / 4.0 => 1.0,
            _ => (1.0 - smooth) / 32.0 + smooth,
        };
        if index == 30 { change / inverse } else { 1.0 / inverse }
    };
    let mut model = Model::new().with("qwen3.rope.freq_base", Item::F32(500000.0));
    model = model.tensor("rope_freqs.weight", &[64], 0, 320);
    model.data.extend((0..64).flat_map(|index| (factor(index) as f32).to_le_bytes()));
    model
}

#[test]
fn the_scaling_of_llama_3_is_found_in_its_factors() {
    assert_eq!(
        config(&llama3(1.0))["rope_scaling"],
        json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192})
    );
    let error = import(&llama3(1.01).bytes()).unwrap_err();
    assert!(error.contains("tensor `rope_freqs.weight` scales positions in another way"), "{error}");
}

#[test]
fn a_tokenizer_of_llama_3_puts_bos_first_and_keeps_whole_tokens() {
    let model = Model::new()
        .with("tokenizer.ggml.pre", Item::Text("llama-bpe"))
        .with("tokenizer.ggml.tokens", Item::Texts(vec!["1", "2", "12", "<e>", "123", "3", "1234"]))
        .with("tokenizer.ggml.token_type", Item::Integers(vec![1, 1, 1, 3, 1, 1, 1]))
        .with("tokenizer.ggml.merges", Item::Texts(vec!["1 2"]))
        .with("tokenizer.ggml.bos_token_id", Item::U32(3))
        .with("tokenizer.ggml.add_bos_token", Item::Raw(7, vec![1]));
    let folder = import(&model.bytes()).unwrap();
    // Three digits at once, which are a token though no merges make it; then the rest.
    let path = folder.path().join("out");
    assert_eq!(Tokenizer::load(&path).unwrap().encode("12312").unwrap(), [4, 2]);
    let whole = tokenizers::Tokenizer::from_file(path.join("tokenizer.json")).unwrap();
    assert_eq!(whole.encode("123", true).unwrap().get_ids(), [3, 4]);
}

#[test]
fn named_templates_are_kept() {
    let model = Model::new()
        .with("tokenizer.chat_template", Item::Text("D"))
        .with("tokenizer.chat_templates", Item::Texts(vec!["tool_use"]))
        .with("tokenizer.chat_template.tool_use", Item::Text("T"));
    let folder = import(&model.bytes()).unwrap();
    let tokenizer = Tokenizer::load(&folder.path().join("out")).unwrap();
    let say = |tools| tokenizer.chat_template(tools).unwrap().render(&[], &ChatOptions::default()).unwrap();
    assert_eq!([say(false), say(true)], ["D", "T"]);
}

#[test]
fn damaged_and_unknown_files_are_refused_with_the_field() {
    let long = |kind: u32, count: u64| [kind.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
    let new = Model::new;
    let cases = [
        (new().with("general.architecture", Item::Text("gemma")), "`general.architecture` is `gemma`"),
        (new().without("general.architecture"), "`general.architecture` is missing"),
        (new().with("general.architecture", Item::U32(1)), "`general.architecture` is no text"),
        (new().with("general.alignment", Item::U32(24)), "`general.alignment`: is no power of two"),
        (new().with("general.alignment", Item::U32(0)), "`general.alignment`: is no power of two"),
        (new().with("qwen3.expert_count", Item::U32(8)), "`qwen3.expert_count` is not supported"),
        (new().with("qwen3.attention.head_count", Item::U32(0)), "`qwen3.attention.head_count` is 0"),
        (new().with("qwen3.attention.head_count", Item::Text("2")), "`qwen3.attention.head_count` is no integer"),
        (new().with("qwen3.block_count", Item::Raw(5, vec![255; 4])), "`qwen3.block_count` cannot be -1"),
        (new().with("qwen3.rope.dimension_count", Item::U32(8)), "`qwen3.rope.dimension_count` differs"),
        (new().without("qwen3.context_length"), "`qwen3.context_length` is missing"),
        (new().with("tokenizer.ggml.model", Item::Text("llama")), "`tokenizer.ggml.model` is `llama`"),
        (new().with("tokenizer.ggml.pre", Item::Text("bloom")), "`tokenizer.ggml.pre` is `bloom`"),
        (new().with("tokenizer.ggml.merges", Item::Texts(vec!["ab"])), "`tokenizer.ggml.merges` has at 0 `ab`"),
        (new().with("tokenizer.ggml.merges", Item::Texts(vec!["a c"])), "`tokenizer.ggml.merges` has at 0 `a c`"),
        (new().with("tokenizer.ggml.merges", Item::U32(1)), "`tokenizer.ggml.merges` is no list of texts"),
        (new().with("tokenizer.ggml.token_type", Item::Integers(vec![1])), "has 1 items for 5 tokens"),
        (new().with("tokenizer.ggml.eos_token_id", Item::U32(5)), "`tokenizer.ggml.eos_token_id` is 5"),
        (
            new().with("tokenizer.ggml.tokens", Item::Texts(vec!["a", "b", "ab", "a", "[PAD]"])),
            "`tokenizer.ggml.tokens` has `a` twice",
        ),
        (new().with("x", Item::Raw(8, u64::MAX.to_le_bytes().to_vec())), "`x`: a text of 18446744073709551615 bytes"),
        (new().with("x", Item::Raw(9, long(8, 1 << 60))), "`x`: a list of 1152921504606846976 items"),
        (new().with("x", Item::Raw(9, long(4, 1 << 22))), "`x`: the file is cut short"),
        (new().with("x", Item::Raw(9, long(9, 1))), "`x`: lists of lists"),
        (new().with("x", Item::Raw(13, vec![])), "`x`: there is no type 13"),
        (new().with("x", Item::Raw(7, vec![2])), "`x`: a truth value is 2"),
        (new().with("x", Item::Raw(8, vec![1, 0, 0, 0, 0, 0, 0, 0, 255])), "`x`: a text is not UTF-8"),
        (new().tensor("output_norm.weight", &[32], 13, 192), "tensor `output_norm.weight`: type 13 is not supported"),
        (new().tensor("output_norm.weight", &[33], 8, 192), "tensor `output_norm.weight`: has rows of 33 numbers"),
        (new().tensor("output_norm.weight", &[32], 0, 190), "tensor `output_norm.weight`: begins at 190"),
        (
            new().tensor("output_norm.weight", &[32, 2], 0, 192),
            "tensor `output_norm.weight`: 256 bytes at 192 do not fit",
        ),
        (new().tensor("output_norm.weight", &[32], 0, u64::MAX - 31), "tensor `output_norm.weight`: 128 bytes at"),
        (new().tensor("output_norm.weight", &[1 << 40, 1 << 40], 0, 0), "tensor `output_norm.weight`: has shape"),
        (new().tensor("output_norm.weight", &[], 0, 0), "tensor `output_norm.weight`: has 0 dimensions"),
        (new().tensor("output_norm.weight", &[1; 5], 0, 0), "tensor `output_norm.weight`: has 5 dimensions"),
        (new().tensor("blk.0.ssm.weight", &[1], 0, 0), "tensor `blk.0.ssm.weight` is not part of this architecture"),
    ];
    for (model, wanted) in cases {
        let error = import(&model.bytes()).unwrap_err();
        assert!(error.contains("x.gguf: ") && error.contains(wanted), "{error}");
    }
    let mut twice = Model::new();
    twice.fields.push(("qwen3.block_count", Item::U32(0)));
    assert!(import(&twice.bytes()).unwrap_err().contains("`qwen3.block_count`: is there twice"));
    twice.fields.pop();
    twice.tensors.push(("output_norm.weight", vec![32], 0, 192));
    assert!(import(&twice.bytes()).unwrap_err().contains("tensor `output_norm.weight`: is there twice"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = Model::new().bytes();
    for cut in 0..bytes.len() {
        assert!(import(&bytes[..cut]).is_err(), "cut to {cut}");
    }
    assert!(import(b"GGML\x03\0\0\0").unwrap_err().contains("this is no GGUF file"));
    assert!(import(b"GGUF\x04\0\0\0").unwrap_err().contains("version 4 of GGUF"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in the file, importing comes to an end, with a folder that opens or an error.
    #[test]
    fn a_damaged_file_is_an_error_or_a_folder(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = Model::new().bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(folder) = import(&bytes) {
            prop_assert!(Weights::load_model(&folder.path().join("out")).is_ok());
        }
    }
}

/// A whole model that a package carries, against transformers' reading of it: `tests/bench/gguf` makes the cases.
#[test]
fn a_file_of_the_world_is_imported_as_transformers_reads_it() {
    let Ok(folder) = std::env::var("GAZAL_GGUF") else {
        eprintln!("passed over: GAZAL_GGUF names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let (file, out) = (fs::read_to_string(folder.join("file.txt")).unwrap(), folder.join("imported"));
    import_gguf(&folder.join(file), &out, Precision::F32).unwrap();
    let (found, wanted) = (Weights::load_model(&out).unwrap(), Weights::load_model(&folder.join("expected")).unwrap());
    assert_eq!(found.names().collect::<Vec<_>>(), wanted.names().collect::<Vec<_>>());
    for name in wanted.names() {
        assert_eq!(found.shape(name), wanted.shape(name), "{name}");
        assert!(found.read(name).unwrap() == wanted.read(name).unwrap(), "{name} differs");
    }
    eprintln!("{} tensors are the same to the bit", wanted.names().count());
}

#[test]
fn a_shape_that_no_model_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(fixture("tiny-llama.gguf")).unwrap();
    let key = b"llama.block_count";
    // The key, the type of the value in four bytes, and the value.
    let value = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    bytes[value..value + 4].copy_from_slice(&150_994_945_u32.to_le_bytes());
    let file = folder.path().join("deep.gguf");
    fs::write(&file, bytes).unwrap();
    let error = import_gguf(&file, &folder.path().join("model"), Precision::F32).unwrap_err().to_string();
    assert!(error.contains("deep.gguf") && error.contains("`num_hidden_layers` is 150994945"), "{error}");
    assert!(!folder.path().join("model").exists());
}
