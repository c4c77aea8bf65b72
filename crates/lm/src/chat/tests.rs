//! Rendered text against transformers' own, and what must not render.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{ChatOptions, ChatTemplate};
use crate::fixtures::{folder, json as read_json};

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new("test", source, BTreeMap::from([("eos_token".into(), "</s>".into())])).unwrap()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn options(fields: &Value) -> ChatOptions {
    let list = |name: &str| fields[name].as_array().cloned().unwrap_or_default();
    ChatOptions {
        add_generation_prompt: fields["add_generation_prompt"].as_bool().unwrap_or(false),
        enable_thinking: fields["enable_thinking"].as_bool(),
        tools: list("tools"),
        documents: list("documents"),
        ..ChatOptions::default()
    }
}

/// Byte ranges as ranges of characters, which Python counts.
fn characters(text: &str, spans: &[std::ops::Range<usize>]) -> Vec<[usize; 2]> {
    spans.iter().map(|span| [span.start, span.end].map(|at| text[..at].chars().count())).collect()
}

/// The ranges that are not empty.
fn filled(spans: &Value) -> Value {
    spans.as_array().unwrap().iter().filter(|span| span[0] != span[1]).cloned().collect()
}

#[test]
fn chat_fixture_of_qwen3_and_its_training_template() {
    let cases = read_json(&folder("vectors/chat_template_qwen3.json"))["cases"].take();
    let cases = cases.as_array().unwrap();
    for case in cases {
        let path = folder("chat").join(case["template"].as_str().unwrap()).with_extension("jinja");
        let template = template(&std::fs::read_to_string(path).unwrap());
        let messages = case["messages"].as_array().unwrap();
        let (text, spans) = template.render_spans(messages, &options(case)).unwrap();
        assert_eq!(text, case["rendered"].as_str().unwrap(), "{case}");
        assert_eq!(json!(characters(&text, &spans)), case["assistant_char_spans"], "{case}");
    }
    assert_eq!(cases.len(), 24);
}

#[test]
fn chat_fixture_of_the_models() {
    let mut cases = 0;
    for entry in std::fs::read_dir(folder("models")).unwrap() {
        let folder = entry.unwrap().path();
        let source = std::fs::read_to_string(folder.join("chat_template.jinja")).unwrap();
        let chat = read_json(&folder.join("expected.json"))["chat"].take();
        let messages = chat["messages"].as_array().unwrap();
        let template = template(&source);
        let prompt = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
        assert_eq!(template.render(messages, &ChatOptions::default()).unwrap(), chat["rendered"]);
        assert_eq!(template.render(&messages[..2], &prompt).unwrap(), chat["rendered_generation_prompt"]);
        cases += 1;
    }
    assert!(cases >= 2, "only {cases} cases");
}

/// Every template of TRL, rendered by transformers: `tests/bench/chat` makes the file.
#[test]
fn templates_of_the_world_render_as_in_transformers() {
    let Ok(path) = std::env::var("GAZAL_CHAT_CASES") else {
        eprintln!("passed over: GAZAL_CHAT_CASES names no file of cases");
        return;
    };
    let file = read_json(Path::new(&path));
    let tokens: BTreeMap<String, String> = serde_json::from_value(file["tokens"].clone()).unwrap();
    let templates: BTreeMap<&String, ChatTemplate> = file["templates"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, source)| (name, ChatTemplate::new(name, source.as_str().unwrap(), tokens.clone()).unwrap()))
        .collect();
    let mut wrong = Vec::new();
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let messages = file["chats"][case["chat"].as_str().unwrap()].as_array().unwrap();
        let options = ChatOptions { now: file["now"].as_i64(), ..options(&case["options"]) };
        let name = case["template"].as_str().unwrap().to_string();
        let found = templates[&name].render_spans(messages, &options);
        let same = match &found {
            Ok((text, spans)) => case["rendered"] == *text && json!(characters(text, spans)) == filled(&case["spans"]),
            Err(_) => case["error"].is_string(),
        };
        if !same {
            wrong.push(format!(
                "{name}, {}, {}: {found:?}\nexpected {}\n{}",
                case["chat"], case["options"], case["rendered"], case["error"]
            ));
        }
    }
    eprintln!("{} cases, {} differ", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn rendered(source: &str, messages: &[Value], options: &ChatOptions) -> String {
    template(source).render(messages, options).unwrap()
}

#[test]
fn tojson_writes_as_json_dumps_does() {
    let value = json!({"z": [1, 2.0, 1e16, 1e-5, 0.0001, -0.0], "a": {"é<&>'": "\"\\\n\u{7f}\u{1}𝄞"}, "n": null, "b": true, "e": [], "m": {}});
    let message = [json!({"role": "user", "content": value})];
    let say = |filter: &str| {
        rendered(&format!("{{{{ messages[0].content | {filter} }}}}"), &message, &ChatOptions::default())
    };
    // From Python: json.dumps(value, ensure_ascii=False), and so on.
    assert_eq!(
        say("tojson"),
        "{\"z\": [1, 2.0, 1e+16, 1e-05, 0.0001, -0.0], \"a\": {\"é<&>'\": \"\\\"\\\\\\n\u{7f}\\u0001𝄞\"}, \"n\": null, \
         \"b\": true, \"e\": [], \"m\": {}}"
    );
    assert_eq!(
        say("tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true)"),
        "{\"a\":{\"\\u00e9<&>'\":\"\\\"\\\\\\n\\u007f\\u0001\\ud834\\udd1e\"},\"b\":true,\"e\":[],\"m\":{},\"n\":null,\
         \"z\":[1,2.0,1e+16,1e-05,0.0001,-0.0]}"
    );
    let small = [json!({"content": {"a": [1, {"b": 2}], "c": []}})];
    let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": []\n}";
    assert_eq!(rendered("{{ messages[0].content | tojson(indent=2) }}", &small, &ChatOptions::default()), expected);
}

#[test]
fn tojson_refuses_what_python_refuses() {
    for source in ["{{ nothing | tojson }}", "{{ {'a': nothing} | tojson }}", "{{ 1 | tojson(other=1) }}"] {
        assert!(template(source).render(&[], &ChatOptions::default()).is_err(), "{source}");
    }
}

#[test]
fn the_date_is_the_callers() {
    let source = "{{ strftime_now('%d %b %Y, %A %H:%M:%S %j') }}";
    let options = ChatOptions { now: Some(1_783_177_569), ..ChatOptions::default() };
    assert_eq!(rendered(source, &[], &options), "04 Jul 2026, Saturday 15:06:09 185");
    let error = template(source).render(&[], &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("asks for the date"), "{error}");
    let error = template("{{ strftime_now('%!') }}").render(&[], &options).unwrap_err().to_string();
    assert!(error.contains("`%!`"), "{error}");
}

#[test]
fn what_a_template_raises_is_the_error() {
    let error = template("{{ raise_exception('Roles must alternate') }}").render(&[], &ChatOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("chat template test: ") && error.contains("Roles must alternate"), "{error}");
    let error = ChatTemplate::new("a.jinja", "a\n{% if %}", BTreeMap::new()).err().unwrap().to_string();
    assert!(error.starts_with("chat template a.jinja: ") && error.contains(":2)"), "{error}");
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let error = template(nested).render(&[], &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("fuel"), "{error}");
}

#[test]
fn whitespace_methods_and_loop_controls_are_those_of_transformers() {
    let source = "  {% for m in messages %}\n    {%- if m.role == 'skip' %}{% continue %}{% endif %}\n{{ m.content.strip().split('|')[-1].upper() }}\n\
                  {% if m.last is defined and m.last %}{% break %}{% endif %}\n  {% endfor %}\n{{ eos_token }}{{ none }}{{ true }}\n";
    let messages = [
        json!({"role": "skip"}),
        json!({"content": " a|b "}),
        json!({"content": "c", "last": true}),
        json!({"content": "d"}),
    ];
    assert_eq!(rendered(source, &messages, &ChatOptions::default()), "B\nC\n</s>NoneTrue");
}

#[test]
fn spans_are_found_whatever_the_text_holds() {
    let source = "{% for m in messages %}{% if m.role == 'assistant' %}\n  {%- generation -%}\n {{ m.content }}!\n  {%- endgeneration %}\n\
                  {% else %}{{ m.content }}{% endif %}{% endfor %}";
    let said = "\u{E000}0\u{E001}< {% generation %} é";
    let messages = [user(&format!("{said}\u{E000}1\u{E001}>")), json!({"role": "assistant", "content": said})];
    let (text, spans) = template(source).render_spans(&messages, &ChatOptions::default()).unwrap();
    assert_eq!(text, format!("{said}\u{E000}1\u{E001}>{said}!"));
    assert_eq!(spans.iter().map(|span| &text[span.clone()]).collect::<Vec<_>>(), [format!("{said}!")]);
}

#[test]
fn only_tags_are_rewritten() {
    let kept = [
        "{# {% generation %} #}x",
        "{{ '{% generation %}' }}",
        "{% set x = \"%} {% generation %}\" %}{{ x }}",
        "{% raw %}{% generation %}{% endraw %}",
        "{ % generation % } generation",
        "{% set generation = 1 %}{{ generation }}",
    ];
    for source in kept {
        assert_eq!(super::generation::rewrite(source), source);
    }
    assert_eq!(
        super::generation::rewrite("{%- raw -%}{{{%- endraw %}{%+generation-%}a{% endgeneration +%}"),
        "{%- raw -%}{{{%- endraw %}{%+filter __generation %}{% with-%}a{% endwith %}{% endfilter +%}"
    );
}

#[test]
fn a_block_has_a_scope_of_its_own() {
    let source = "{% set n = namespace(x=1) %}{% set y = 1 %}{% for m in messages %}{% generation %}\
                  {% set y = 2 %}{% set n.x = loop.index0 + 5 %}{{ y }}{% endgeneration %}{% endfor %}{{ y }}{{ n.x }}";
    let (text, spans) = template(source).render_spans(&[user("a")], &ChatOptions::default()).unwrap();
    assert_eq!(text, "215");
    assert_eq!(characters(&text, &spans), [[0, 1]]);
}

#[test]
fn a_template_that_works_on_the_block_is_found_out() {
    let source = "{% set said %}{% generation %}abc{% endgeneration %}{% endset %}{{ said | length }}";
    let error = template(source).render_spans(&[], &ChatOptions::default()).unwrap_err().to_string();
    assert!(error.contains("as it is"), "{error}");
}
