//! A model behind OpenAI's interface, against a server that behaves as badly as they do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, BarrierWaitResult};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::chat_server::{ChatServer, Says};
use crate::{Chat, ChatConfig, ChatError, Reply, Spent};

const SECRET: &str = "sk-very-secret";

fn config(server: &ChatServer) -> ChatConfig {
    ChatConfig {
        base_url: server.url.clone(),
        key: Some(SECRET.into()),
        timeout: Duration::from_secs(20),
        max_retries: 2,
        max_concurrency: 4,
        requests_per_minute: None,
        max_calls: None,
        max_total_tokens: None,
        price: None,
        max_cost: None,
    }
}

fn chat(config: ChatConfig) -> Chat {
    Chat::new(config, Spent::default()).unwrap()
}

fn question(number: usize) -> Value {
    json!({ "model": "judge", "messages": [{ "role": "user", "content": format!("question {number}") }] })
}

fn text(text: &str) -> Says {
    Says::Text(text.into())
}

fn busy(headers: &'static str) -> Says {
    Says::Status("429 Too Many Requests", headers, "slow down".into())
}

/// All outcomes by question.
fn ask_all(chat: &Chat, count: usize) -> Vec<Result<Reply, ChatError>> {
    let questions: Vec<Value> = (0..count).map(question).collect();
    let mut outcomes: Vec<Option<Result<Reply, ChatError>>> = (0..count).map(|_| None).collect();
    chat.ask_all(&questions, &|| false, &mut |at, outcome| outcomes[at] = Some(outcome));
    outcomes.into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_question_is_answered_and_its_cost_is_known() {
    let server = ChatServer::new(|body, _| text(body["messages"][0]["content"].as_str().unwrap()));
    let chat = chat(config(&server));
    let reply = chat.ask(&question(7), &|| false).unwrap();
    let text = "question 7".to_string();
    assert_eq!(reply, Reply { text, reasoning: None, tokens: 10, prompt_tokens: 4, cut: false });
    assert_eq!(chat.spent(), Spent { calls: 1, tokens: 10, prompt_tokens: 4 });
    assert_eq!(chat.spent().cost([1e6, 2e6]), 4.0 + 2.0 * 6.0);
    let (head, body) = server.seen().remove(0);
    assert!(head.starts_with("POST /v1/chat/completions ") && head.contains(&format!("Bearer {SECRET}")), "{head}");
    assert_eq!(body, question(7));
}

#[test]
fn a_busy_broken_or_silent_server_is_asked_again() {
    let server = ChatServer::new(|_, before| match before {
        0 => busy("Retry-After: 0\r\n"),
        1 => Says::Status("503 Service Unavailable", "Retry-After: 0\r\n", String::new()),
        2 => Says::Nothing,
        _ => text("at last"),
    });
    let chat = chat(ChatConfig { max_retries: 3, ..config(&server) });
    assert_eq!(chat.ask(&question(0), &|| false).unwrap().text, "at last");
    assert_eq!((server.calls(), chat.spent()), (4, Spent { calls: 4, tokens: 10, prompt_tokens: 4 }));
}

#[test]
fn who_stays_busy_or_slow_is_given_up_on() {
    let server = ChatServer::new(|_, _| busy("Retry-After: 0\r\n"));
    let error = chat(config(&server)).ask(&question(0), &|| false).unwrap_err();
    assert!(matches!(&error, ChatError::Unreachable(why) if why.contains("429")) && !error.is_lasting(), "{error}");
    assert_eq!(server.calls(), 3);
    let slow = ChatServer::new(|_, _| Says::After(Duration::from_secs(30), Box::new(text("too late"))));
    let hasty = ChatConfig { timeout: Duration::from_millis(100), max_retries: 0, ..config(&slow) };
    let error = chat(hasty).ask(&question(0), &|| false).unwrap_err();
    assert!(matches!(error, ChatError::Unreachable(_)), "{error}");
}

#[test]
fn nonsense_is_said_to_be_unreadable() {
    for body in ["<html>", "{}", r#"{"choices": []}"#] {
        let server = ChatServer::new(move |_, _| Says::Status("200 OK", "", body.into()));
        let error = chat(config(&server)).ask(&question(0), &|| false).unwrap_err();
        assert!(matches!(error, ChatError::Unreadable(_)) && !error.is_lasting(), "{error}");
    }
    let empty = r#"{"choices": [{"message": {"content": null}}]}"#;
    let server = ChatServer::new(move |_, _| Says::Status("200 OK", "", empty.into()));
    let reply = chat(config(&server)).ask(&question(0), &|| false).unwrap();
    assert!(reply.text.is_empty() && reply.tokens > 0, "what is not said is guessed: {reply:?}");
}

#[test]
fn a_refusal_ends_the_asking_and_never_shows_the_key() {
    let echo = format!("no such model for {SECRET}");
    let server = ChatServer::new(move |_, _| Says::Status("404 Not Found", "", echo.clone()));
    let outcomes = ask_all(&chat(ChatConfig { max_concurrency: 1, ..config(&server) }), 5);
    assert_eq!(server.calls(), 1);
    let first = outcomes[0].as_ref().unwrap_err();
    assert!(first.is_lasting() && first.to_string().contains("no such model for …"), "{first}");
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Err(ChatError::Cancelled))));
    assert!(!format!("{outcomes:?}").contains(SECRET));
    let closed = ChatServer::new(|_, _| Says::Status("401 Unauthorized", "", SECRET.into()));
    let denied = chat(config(&closed)).ask(&question(0), &|| false).unwrap_err();
    assert!(matches!(denied, ChatError::Denied(StatusCode::UNAUTHORIZED)), "{denied}");
    let moved = ChatServer::new(|_, _| Says::Status("302 Found", "Location: http://127.0.0.1:9/\r\n", String::new()));
    assert!(chat(config(&moved)).ask(&question(0), &|| false).unwrap_err().is_lasting(), "a key does not follow");
}

#[test]
fn a_question_that_is_refused_does_not_keep_others_from_being_asked() {
    let server = ChatServer::new(|_, before| match before {
        0 => Says::Status("400 Bad Request", "", "too long".into()),
        _ => text("2"),
    });
    let outcomes = ask_all(&chat(ChatConfig { max_concurrency: 1, ..config(&server) }), 3);
    assert!(matches!(&outcomes[0], Err(ChatError::Refused { message, .. }) if message == "too long"));
    assert!(outcomes[1].is_ok() && outcomes[2].is_ok());
}

#[test]
fn as_many_are_under_way_as_may_be_and_no_more() {
    let barrier = Arc::new(Barrier::new(3));
    let met = Arc::clone(&barrier);
    let server = ChatServer::new(move |body, _| {
        // Nobody is answered before three are there.
        let _: BarrierWaitResult = met.wait();
        text(body["messages"][0]["content"].as_str().unwrap())
    });
    let outcomes = ask_all(&chat(ChatConfig { max_concurrency: 3, ..config(&server) }), 9);
    let texts: Vec<String> = outcomes.into_iter().map(|outcome| outcome.unwrap().text).collect();
    assert_eq!(texts, (0..9).map(|number| format!("question {number}")).collect::<Vec<_>>());
    assert_eq!(server.most(), 3);
}

#[test]
fn budgets_end_the_asking_and_count_what_was_spent_before() {
    let server = ChatServer::new(|_, _| text("2"));
    let one_at_a_time = ChatConfig { max_concurrency: 1, ..config(&server) };
    let before = Spent { calls: 3, ..Spent::default() };
    let chat = Chat::new(ChatConfig { max_calls: Some(5), ..one_at_a_time.clone() }, before);
    let chat = chat.unwrap();
    let outcomes = ask_all(&chat, 4);
    assert_eq!((outcomes.iter().filter(|outcome| outcome.is_ok()).count(), server.calls()), (2, 2));
    assert!(matches!(&outcomes[2], Err(ChatError::Spent(what)) if what.contains("`max_calls` is spent: 5")));
    let by_cost = ChatConfig { price: Some([1e6, 1e6]), max_cost: Some(15.0), ..one_at_a_time.clone() };
    let outcomes = ask_all(&Chat::new(by_cost, Spent::default()).unwrap(), 4);
    assert!(matches!(&outcomes[2], Err(ChatError::Spent(what)) if what.contains("`max_cost` is spent: 20.00")));
    let by_tokens = ChatConfig { max_total_tokens: Some(15), ..one_at_a_time };
    let outcomes = ask_all(&Chat::new(by_tokens, Spent::default()).unwrap(), 4);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert!(matches!(&outcomes[2], Err(ChatError::Spent(what)) if what.contains("20 tokens")));
}

#[test]
fn requests_keep_to_the_rate() {
    let server = ChatServer::new(|_, _| text("2"));
    let begun = std::time::Instant::now();
    let outcomes = ask_all(&chat(ChatConfig { requests_per_minute: Some(1200.0), ..config(&server) }), 5);
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(begun.elapsed() >= Duration::from_millis(200), "four pauses of 50 ms, however fast the server is");
}

#[test]
fn a_stop_ends_the_asking() {
    let server = ChatServer::new(|_, _| busy("Retry-After: 60\r\n"));
    let chat = chat(ChatConfig { max_concurrency: 1, ..config(&server) });
    let asked = AtomicUsize::new(0);
    let stop = || server.calls() > 0;
    chat.ask_all(&[question(0), question(1)], &stop, &mut |_, outcome| {
        assert!(matches!(outcome, Err(ChatError::Cancelled)));
        asked.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!((asked.load(Ordering::SeqCst), server.calls()), (2, 1));
}

#[test]
fn what_is_no_url_is_refused() {
    let server = ChatServer::new(|_, _| text("2"));
    for base_url in ["not a url", "ftp://host/v1", "file:///v1"] {
        let wrong = ChatConfig { base_url: base_url.into(), ..config(&server) };
        assert!(matches!(Chat::new(wrong, Spent::default()), Err(ChatError::Url(_))));
    }
}
