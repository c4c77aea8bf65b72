//! Verbs that use a model, on a small one of random weights whose greedy ids transformers wrote down.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::space::TestSpace;

fn model() -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/qwen3").display().to_string()
}

/// Twelve ids of a prompt and what follows them, most likely token by most likely token.
fn greedy() -> Vec<u32> {
    let text = std::fs::read_to_string(format!("{}/expected.json", model())).unwrap();
    serde_json::from_value(serde_json::from_str::<Value>(&text).unwrap()["greedy_ids"].clone()).unwrap()
}

/// Prompts of several lengths, the first of them that of [`greedy`].
fn prompts() -> Vec<Value> {
    let ids = greedy();
    vec![json!(ids[..12]), json!("fever and chills"), json!(ids[..5]), json!(ids[3..20])]
}

fn rows() -> String {
    prompts().iter().map(|prompt| json!({"prompt": prompt}).to_string() + "\n").collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_fixture_prompt_is_completed_as_transformers_does() {
    let (space, greedy) = (TestSpace::new(), greedy());
    space.write("prompts.jsonl", &rows());
    let words = format!("generate {} --prompts prompts.jsonl --json --max-new-tokens {}", model(), greedy.len() - 12);
    let told = lines(&space.expect(0, &words).stdout);
    assert_eq!(told.len(), 4);
    assert_eq!(told[0]["ids"], json!(greedy[12..]));
    let ids = |told: &[Value]| told.iter().map(|one| one["ids"].clone()).collect::<Vec<_>>();
    let one_by_one = lines(&space.expect(0, &format!("{words} --batch-size 1")).stdout);
    assert_eq!(ids(&told), ids(&one_by_one), "a batch is the same as one by one");
}

#[test]
fn seeds_decide_and_neighbours_do_not() {
    let (space, base) = (TestSpace::new(), format!("generate {} --json --max-new-tokens 12 --temperature 1", model()));
    let alone = space.expect(0, &format!("{base} --prompt fever --seed 3")).stdout;
    let beside = space.expect(0, &format!("{base} --prompt fever --prompt another --seed 3")).stdout;
    assert_eq!(lines(&alone)[0]["ids"], lines(&beside)[0]["ids"]);
    assert_ne!(alone, space.expect(0, &format!("{base} --prompt fever --seed 4")).stdout);
    let group = lines(&space.expect(0, &format!("{base} --prompt fever --num-generations 4")).stdout);
    assert_eq!(group.len(), 4);
    assert_ne!(group[0]["ids"], group[1]["ids"]);
}

#[test]
fn tokens_show_what_is_learned() {
    let space = TestSpace::new();
    let row = r#"{"prompt":"ab","completion":" cd"}"#;
    let output = space.command("tokens").arg(model()).args(["--json", "--row", row]).output().unwrap();
    let rows = lines(&String::from_utf8(output.stdout).unwrap());
    let masks: Vec<bool> = rows.iter().map(|row| row["mask"].as_bool().unwrap()).collect();
    assert!(masks.contains(&true) && masks.contains(&false) && masks.is_sorted(), "{rows:?}");
    let spelled: String = rows.iter().map(|row| row["token"].as_str().unwrap()).collect();
    assert_eq!(spelled, "ab cd");
    assert!(space.expect(2, &format!("tokens {} --row 5", model())).stderr.contains("`messages`"));
    assert!(space.expect(2, "chat nowhere").stderr.contains("nowhere"));
}

#[test]
fn a_chat_goes_on_over_turns() {
    let space = TestSpace::new();
    let mut child = space
        .command(&format!("chat {} --json --max-new-tokens 5", model()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n\nagain\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let told = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|turn| turn["role"] == "assistant"));
}

/// `serve`, ended with this.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    pub fn start(space: &TestSpace, words: &str) -> Server {
        let words = format!("serve {} --port 0 --json --served-model-name tiny {words}", model());
        let mut child = space.command(&words).env("TEST_KEY", "k").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/v1").to_string();
        Server { child, address }
    }

    /// Status and body.
    fn ask(&self, path: &str, body: &Value) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let method = if body.is_empty() { "GET" } else { "POST" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer k\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunk(body) } else { body.to_string() })
    }

    fn json(&self, path: &str, body: &Value) -> Value {
        let (status, text) = self.ask(path, body);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunk(body: &str) -> String {
    let mut rest = body;
    let mut text = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        text += &after[..length];
        rest = after[length..].trim_start_matches("\r\n");
    }
    text
}

#[test]
fn who_comes_together_is_answered_as_alone() {
    let space = TestSpace::new();
    let server = Server::start(&space, "--max-num-seqs 3");
    assert_eq!(server.json("/v1/models", &Value::Null)["data"][0]["id"], "tiny");
    let served: Vec<Value> = thread::scope(|scope| {
        let ask = |prompt: Value| {
            let request = json!({"model": "tiny", "prompt": prompt, "temperature": 0, "logprobs": 1, "max_tokens": 24});
            let server = &server;
            scope.spawn(move || server.json("/v1/completions", &request)["choices"][0]["text"].clone())
        };
        let asked: Vec<_> = prompts().into_iter().map(ask).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    space.write("prompts.jsonl", &rows());
    let alone = space.expect(0, &format!("generate {} --prompts prompts.jsonl --json --max-new-tokens 24", model()));
    let alone: Vec<Value> = lines(&alone.stdout).iter().map(|one| one["completion"].clone()).collect();
    assert_eq!(served, alone);
}

#[test]
fn chats_are_streamed_and_limits_are_kept() {
    let space = TestSpace::new();
    let server = Server::start(&space, "--api-key-env TEST_KEY --max-model-len 60 --max-body 4000");
    let chat = |more: Value| {
        let mut request = json!({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9, "temperature": 0.7, "seed": 5});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let whole = server.json("/v1/chat/completions", &chat(json!({"n": 2})));
    assert_eq!(whole["choices"].as_array().unwrap().len(), 2);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(whole["usage"]["completion_tokens"], 18);
    let (_, stream) =
        server.ask("/v1/chat/completions", &chat(json!({"stream": true, "stream_options": {"include_usage": true}})));
    let events: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let streamed: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(streamed, text, "the same seed, piece by piece");
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 9);
    for (more, status, word) in [
        (json!({"max_tokens": 5000}), 400, "max_tokens"),
        (json!({"model": "other"}), 404, "other"),
        (json!({"messages": []}), 400, "messages"),
        (json!({"logit_bias": {"1": 2}}), 400, "logit_bias"),
        (json!({"user": "x".repeat(5000)}), 413, "length"),
    ] {
        let (told, body) = server.ask("/v1/chat/completions", &chat(more));
        assert_eq!(told, status, "{body}");
        assert!(
            body.contains(word) && serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string(),
            "{body}"
        );
    }
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("401"), "{answer}");
}
