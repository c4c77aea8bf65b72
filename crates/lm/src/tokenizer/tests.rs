//! Special tokens, masks and copies on folders that differ in one thing from the fixtures' tokenizer.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Tokenizer, overlaps};
use crate::chat::{ChatOptions, ChatTemplate};

/// Ids of the fixtures' tokenizer.
const IM_END: u32 = 316;
const ENDOFTEXT: u32 = 317;
const IM_START: u32 = 318;

fn fixture() -> PathBuf {
    crate::fixtures::folder("models/qwen3")
}

/// The fixtures' `tokenizer.json` with these files beside it.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture().join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    for (name, value) in files {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

fn load(files: &[(&str, Value)]) -> Result<Tokenizer, String> {
    Tokenizer::load(folder(files).path()).map_err(|error| error.to_string())
}

const CONFIG: &str = "tokenizer_config.json";

#[test]
fn eos_ids_are_the_union_and_pad_is_never_eos() {
    let config = json!({"eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>"}});
    let generation = json!({"eos_token_id": [IM_END, ENDOFTEXT], "pad_token_id": ENDOFTEXT});
    let model = json!({"eos_token_id": IM_START});
    let tokenizer = load(&[(CONFIG, config), ("generation_config.json", generation), ("config.json", model)]).unwrap();
    assert_eq!((tokenizer.eos, tokenizer.pad), (IM_END, ENDOFTEXT));
    assert_eq!(tokenizer.eos_ids, [IM_END, ENDOFTEXT, IM_START]);
}

#[test]
fn a_pad_is_found_where_none_or_eos_is_named() {
    for pad in [json!("<|im_end|>"), Value::Null] {
        let config = json!({"eos_token": "<|im_end|>", "pad_token": pad});
        assert_eq!(load(&[(CONFIG, config)]).unwrap().pad, ENDOFTEXT);
    }
    let config = json!({"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"});
    let both = json!({"eos_token_id": [IM_END, ENDOFTEXT], "pad_token_id": IM_END});
    let tokenizer = load(&[(CONFIG, config.clone()), ("generation_config.json", both)]).unwrap();
    assert_eq!(tokenizer.pad, IM_START);
    let all = json!({"eos_token_id": [ENDOFTEXT, IM_START, 0]});
    assert_eq!(load(&[(CONFIG, config), ("generation_config.json", all)]).unwrap().pad, 1);
}

#[test]
fn eos_comes_from_wherever_it_is_named() {
    let nested = json!({"text_config": {"eos_token_id": 5}});
    let tokenizer = load(&[("config.json", nested)]).unwrap();
    assert_eq!((tokenizer.eos, tokenizer.eos_ids.as_slice()), (5, [5].as_slice()));
    let map = json!({"eos_token": {"content": "<|im_end|>"}});
    assert_eq!(load(&[("special_tokens_map.json", map)]).unwrap().eos, IM_END);
    assert!(load(&[]).err().unwrap().contains("no `eos_token`"));
}

#[test]
fn wrong_fields_are_named() {
    let eos = json!({"eos_token": "<|im_end|>"});
    let cases = [
        (json!({"eos_token": "<none>"}), Value::Null, "tokenizer_config.json: `eos_token` is `<none>`"),
        (eos.clone(), json!({"eos_token_id": "2"}), "generation_config.json: `eos_token_id` is neither"),
        (eos, json!({"eos_token_id": [2, -1]}), "generation_config.json: `eos_token_id` is neither"),
        (json!({"eos_token": "<|im_end|>", "chat_template": 5}), Value::Null, "`chat_template` is neither"),
        (
            json!({"eos_token": "<|im_end|>", "added_tokens_decoder": {"400": {"content": "<new>"}}}),
            Value::Null,
            "gives `<new>` the id 400",
        ),
    ];
    for (config, generation, wanted) in cases {
        let error = load(&[(CONFIG, config), ("generation_config.json", generation)]).err().unwrap();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn added_tokens_of_the_config_are_tokens() {
    let token = json!({"content": "<think>", "special": false, "normalized": false});
    let added = json!({"319": token, "316": {"content": "<|im_end|>"}});
    let tokenizer = load(&[(CONFIG, json!({"eos_token": "<|im_end|>", "added_tokens_decoder": added}))]).unwrap();
    let ids = tokenizer.encode("a<think>b<|im_end|>").unwrap();
    assert_eq!(ids[1], 319);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a<think>b");
    assert_eq!(tokenizer.vocab_size(), 320);
}

#[test]
fn saved_padding_and_truncation_change_no_ids() {
    let folder = folder(&[(CONFIG, json!({"eos_token": "<|im_end|>"}))]);
    let path = folder.path().join("tokenizer.json");
    let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    file["truncation"] = json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
    fs::write(&path, file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("Hello").unwrap().len(), 5);
    assert_eq!(tokenizer.encode("He").unwrap().len(), 2);
}

const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}\
    {% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}";

fn talk() -> [Value; 2] {
    [json!({"role": "user", "content": "hi"}), json!({"role": "assistant", "content": "诊 yo"})]
}

#[test]
fn a_conversation_has_a_mask_of_what_the_assistant_says() {
    let config = json!({"eos_token": "<|im_end|>", "chat_template": TEMPLATE});
    let tokenizer = load(&[(CONFIG, config)]).unwrap();
    let found = tokenizer.encode_conversation(&talk(), &ChatOptions::default()).unwrap();
    let said: Vec<u32> = found.ids.iter().zip(&found.assistant).filter(|(_, said)| **said).map(|(id, _)| *id).collect();
    assert_eq!(said, tokenizer.encode("诊 yo<|im_end|>").unwrap());
    assert_eq!(found.ids, tokenizer.encode_chat(&talk(), &ChatOptions::default()).unwrap());
}

#[test]
fn a_mask_holds_white_space_whatever_the_post_processor_does_with_offsets() {
    let folder = folder(&[(CONFIG, json!({"eos_token": "<|im_end|>", "chat_template": TEMPLATE}))]);
    let path = folder.path().join("tokenizer.json");
    let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    file["post_processor"] =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    fs::write(&path, file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    let says = [json!({"role": "assistant", "content": "  \n \n a \t"})];
    let found = tokenizer.encode_conversation(&says, &ChatOptions::default()).unwrap();
    let said = found.assistant.iter().filter(|said| **said).count();
    assert_eq!(said, tokenizer.encode("  \n \n a \t<|im_end|>").unwrap().len());
}

#[test]
fn an_empty_mask_is_an_error() {
    let tokenizer = Tokenizer::load(&fixture()).unwrap();
    let error = tokenizer.encode_conversation(&talk(), &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja: marks nothing as the assistant's"), "{error}");
    let mut tokenizer = tokenizer;
    tokenizer.set_chat_template(ChatTemplate::new("training", TEMPLATE, [].into()).unwrap());
    assert!(tokenizer.encode_conversation(&talk(), &ChatOptions::default()).is_ok());
    let error = tokenizer.encode_conversation(&talk()[..1], &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("training: marks nothing"), "{error}");
}

#[test]
fn overlapping_tokens_are_the_assistants() {
    let offsets = [(0, 2), (2, 5), (5, 5), (5, 6), (6, 9), (9, 10)];
    assert_eq!(overlaps(&offsets, &[4..6, 9..10]), [false, true, false, true, false, true]);
    assert_eq!(overlaps(&offsets, &[]), [false; 6]);
}

#[test]
fn templates_are_found_by_name_and_files_go_first() {
    let named = json!([{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]);
    let folder = folder(&[(CONFIG, json!({"eos_token": "<|im_end|>", "chat_template": named}))]);
    let say = |tokenizer: &Tokenizer, tools| {
        tokenizer.chat_template(tools).unwrap().render(&[], &ChatOptions::default()).unwrap()
    };
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    assert_eq!([say(&tokenizer, false), say(&tokenizer, true)], ["D", "T"]);
    fs::write(folder.path().join("chat_template.jinja"), "F").unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    assert_eq!([say(&tokenizer, false), say(&tokenizer, true)], ["F", "F"]);
    fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
    fs::write(folder.path().join("additional_chat_templates/tool_use.jinja"), "A").unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    assert_eq!([say(&tokenizer, false), say(&tokenizer, true)], ["F", "A"]);
    let copy = tempfile::tempdir().unwrap();
    tokenizer.save(copy.path()).unwrap();
    let tokenizer = Tokenizer::load(copy.path()).unwrap();
    assert_eq!([say(&tokenizer, false), say(&tokenizer, true)], ["F", "A"]);
}

#[test]
fn a_model_without_a_template_says_so() {
    let tokenizer = load(&[(CONFIG, json!({"eos_token": "<|im_end|>"}))]).unwrap();
    let error = tokenizer.encode_chat(&talk(), &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
}

/// A real tokenizer against what transformers makes of it: `tests/bench/chat` makes the file beside it.
#[test]
fn a_tokenizer_of_the_world_loads_and_renders_as_in_transformers() {
    let Ok(folder) = std::env::var("GAZAL_TOKENIZER") else {
        eprintln!("passed over: GAZAL_TOKENIZER names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let tokenizer = Tokenizer::load(folder).unwrap();
    let cases: Value = serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    assert_eq!(json!(tokenizer.eos), cases["eos"]);
    for case in cases["texts"].as_array().unwrap() {
        let ids = tokenizer.encode(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(json!(ids), case["ids"], "{}", case["text"]);
        assert_eq!(json!(tokenizer.decode(&ids).unwrap()), case["decoded"]);
    }
    for case in cases["chats"].as_array().unwrap() {
        let options = ChatOptions {
            add_generation_prompt: case["options"]["add_generation_prompt"].as_bool().unwrap_or(false),
            enable_thinking: case["options"]["enable_thinking"].as_bool(),
            tools: case["options"]["tools"].as_array().cloned().unwrap_or_default(),
            ..ChatOptions::default()
        };
        let messages = case["messages"].as_array().unwrap();
        let template = tokenizer.chat_template(!options.tools.is_empty()).unwrap();
        assert_eq!(json!(template.render(messages, &options).unwrap()), case["rendered"]);
        assert_eq!(json!(tokenizer.encode_chat(messages, &options).unwrap()), case["ids"]);
    }
    let training = cases["training_template"].as_str().unwrap();
    let mut tokenizer = tokenizer;
    tokenizer.set_chat_template(ChatTemplate::new("training", training, [].into()).unwrap());
    for case in cases["masks"].as_array().unwrap() {
        let messages = case["messages"].as_array().unwrap();
        let found = tokenizer.encode_conversation(messages, &ChatOptions::default()).unwrap();
        let mask: Vec<u8> = found.assistant.iter().map(|&said| said.into()).collect();
        assert_eq!((json!(found.ids), json!(mask)), (case["ids"].clone(), case["mask"].clone()));
    }
    eprintln!(
        "{} texts, {} chats, {} masks",
        cases["texts"].as_array().unwrap().len(),
        cases["chats"].as_array().unwrap().len(),
        cases["masks"].as_array().unwrap().len()
    );
}
