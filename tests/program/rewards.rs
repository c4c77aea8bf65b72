//! Rewards that ask others, and sentinels, in a real GRPO stage: the shipped pipeline at its smallest.

#[path = "../../crates/net/src/tests/chat_server.rs"]
#[allow(dead_code, reason = "the tests of `net` use more of it")]
pub mod chat_server;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_server::{ChatServer, Says};
use serde_json::Value;

use crate::space::{Answer, TestSpace, answer, processes_with, wait_until};

const SECRET: &str = "sk-this-is-secret";
const SHIPPED: &str = "reward_funcs = [\"accuracy\", \"format\", \"cosine\", \"repetition\"]\n";

/// The shipped pipeline in its smallest profile, with these parameters of `grpo` in the place of its rewards.
fn shipped(rewards: &str) -> TestSpace {
    let space = TestSpace::new();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/gazal-r1.toml")).unwrap();
    assert!(text.contains(SHIPPED));
    space.write("pipeline.toml", &text.replacen(SHIPPED, rewards, 1));
    space
}

fn judged(url: &str, more: &str) -> String {
    format!(
        "reward_funcs = [\"format\", {{ name = \"judge\", model = \"grader\", base_url = \"{url}\", \
         api_key_env = \"JUDGE_KEY\"{more} }}]\n"
    )
}

fn command(space: &TestSpace, words: &str) -> Command {
    let mut command = space.command(&format!("run --json pipeline.toml grpo --profile smoke {words}"));
    command.env("JUDGE_KEY", SECRET);
    command
}

/// All that `grpo` needs.
fn prepare(space: &TestSpace, words: &str) {
    space.expect(0, &format!("run pipeline.toml sft --profile smoke {words}"));
}

fn run(space: &TestSpace, code: i32, words: &str) -> Answer {
    let told = answer(&command(space, words).output().unwrap());
    assert_eq!(told.code, code, "{words}\n{}{}", told.stdout, told.stderr);
    told
}

/// `trainer_state.json` of `grpo`.
fn state_of(space: &TestSpace, words: &str) -> Value {
    space.expect(0, &format!("get pipeline.toml grpo.history history --profile smoke {words}"));
    let text = space.read("history/trainer_state.json");
    fs::remove_dir_all(space.path("history")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A verdict for each question, the same whenever it is asked; every seventh is nonsense.
fn verdict(body: &Value) -> Says {
    let asked = body["messages"][0]["content"].as_str().unwrap();
    let sum: usize = asked.bytes().map(usize::from).sum();
    Says::Text(["2", "0.5", "0", "-0.5", "-1", "+2.0", "rather good"][sum % 7].into())
}

pub fn said_anywhere(folder: &Path, word: &str) -> bool {
    fs::read_dir(folder).unwrap().filter_map(Result::ok).any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => said_anywhere(&entry.path(), word),
        Ok(kind) if kind.is_file() => {
            fs::read(entry.path()).unwrap().windows(word.len()).any(|window| window == word.as_bytes())
        }
        _ => false,
    })
}

#[test]
fn a_judge_is_asked_once_and_then_remembered() {
    let server = ChatServer::new(|body, before| match before {
        0 => Says::Status("429 Too Many Requests", "Retry-After: 0\r\n", String::new()),
        _ => verdict(body),
    });
    let slow = "--set stages.grpo.params.learning_rate=1e-15";
    let space = shipped(&judged(&server.url, ""));
    run(&space, 0, slow);
    let calls = server.calls();
    assert!(calls > 1, "nothing was asked");
    let first = server.seen().iter().all(|(head, body)| {
        let asked = body["messages"][0]["content"].as_str().unwrap();
        head.contains(&format!("Bearer {SECRET}")) && body["model"] == "grader" && !asked.contains("<think>")
    });
    assert!(first, "{:?}", server.seen());
    let history = state_of(&space, slow);
    let entry = &history["log_history"][0];
    assert!(entry["rewards/judge/mean"].is_number() && entry["rewards/judge/missing"].is_number(), "{entry}");

    run(&space, 0, &format!("{slow} --force grpo"));
    run(&space, 0, "--set stages.grpo.params.learning_rate=2e-15");
    assert_eq!(server.calls(), calls, "what was answered is asked again");
    assert_eq!(state_of(&space, slow), history);

    space.write("pipeline.toml", &space.read("pipeline.toml").replace(&server.url, "http://127.0.0.1:9/v1"));
    assert!(run(&space, 0, slow).stdout.contains("\"state\":\"hit\""), "the address is in no key");
    let offline = space.read("pipeline.toml").replace("api_key_env", "offline = true, api_key_env");
    space.write("pipeline.toml", &offline);
    run(&space, 0, &format!("{slow} --force grpo"));
    assert_eq!(state_of(&space, slow), history, "replayed");
    space.expect(0, "cache gc");
    run(&space, 0, &format!("{slow} --force grpo"));
    let told = run(&space, 1, &format!("{slow} --set stages.grpo.seed=5"));
    assert!(told.stdout.contains("`offline` is set, and the memo lacks"), "{}", told.stdout);
    assert!(!said_anywhere(&space.path(""), SECRET), "the key is on the disk");
}

/// I24: however many are asked at a time.
#[test]
fn i24_verdicts_do_not_depend_on_how_many_are_asked_at_once() {
    let histories = [1, 8].map(|concurrency| {
        let server = ChatServer::new(|body, _| verdict(body));
        let space = shipped(&judged(&server.url, &format!(", max_concurrency = {concurrency}")));
        run(&space, 0, "");
        assert!(server.calls() > 8, "too few to be asked at once");
        state_of(&space, "")
    });
    assert_eq!(histories[0], histories[1]);
}

#[test]
fn a_killed_stage_does_not_pay_twice() {
    let stuck = Arc::new(AtomicBool::new(true));
    let (holds, answered) = (Arc::clone(&stuck), Arc::new(Mutex::new(BTreeMap::<String, usize>::new())));
    let counted = Arc::clone(&answered);
    let server = ChatServer::new(move |body, before| {
        if holds.load(Ordering::SeqCst) && before >= 3 {
            return Says::After(Duration::from_secs(600), Box::new(verdict(body)));
        }
        *lock(&counted).entry(body.to_string()).or_default() += 1;
        verdict(body)
    });
    let space = shipped(&judged(&server.url, ", max_concurrency = 1"));
    prepare(&space, "");
    let mut runner = command(&space, "").spawn().unwrap();
    wait_until("a question that is not answered", || server.calls() == 4);
    runner.kill().unwrap();
    runner.wait().unwrap();
    let mark = space.path("").to_string_lossy().into_owned();
    wait_until("the end of every worker", || processes_with(&mark).is_empty());
    stuck.store(false, Ordering::SeqCst);
    run(&space, 0, "");
    assert!(lock(&answered).len() > 3);
    assert!(lock(&answered).values().all(|times| *times == 1), "{answered:?}");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_judge_that_cannot_be_asked_fails_the_stage_with_a_remedy() {
    let server = ChatServer::new(|_, _| Says::Status("401 Unauthorized", "", SECRET.into()));
    let space = shipped(&judged(&server.url, ""));
    let told = run(&space, 1, "");
    assert!(told.stdout.contains("reward `judge`: the server refuses the key"), "{}", told.stdout);
    assert!(told.stdout.contains("api_key_env") && !told.stdout.contains(SECRET), "{}", told.stdout);
    let budget = ChatServer::new(|body, _| verdict(body));
    space.write("pipeline.toml", &space.read("pipeline.toml").replace(&server.url, &budget.url));
    let limited = space.read("pipeline.toml").replace("api_key_env", "max_calls = 2, api_key_env");
    space.write("pipeline.toml", &limited);
    let told = run(&space, 1, "");
    assert!(told.stdout.contains("`max_calls` is spent: 2"), "{}", told.stdout);
    assert_eq!(budget.calls(), 2);
    let told = answer(&command(&space, "").env_remove("JUDGE_KEY").output().unwrap());
    assert!(told.stdout.contains("$JUDGE_KEY is not set"), "{}", told.stdout);
}

/// Rewards by length, and does not judge every fifth.
const SCORE: &str = "/\"finished\":/ && /\"item\":/ && /\"id\":/ {\n  n++\n  if (n % 5 == 0) print \"{\\\"reward\\\": null}\"\n\
    else printf \"{\\\"reward\\\": %f}\\n\", length($0) % 10\n}\n";

#[test]
fn a_program_rewards_and_its_sources_are_in_the_key() {
    let exec = "{ name = \"exec\", label = \"mine\", command = [\"awk\", \"-f\", \"own/score.awk\"], \
                sources = [\"own/*.awk\"] }";
    let space = shipped(&format!("reward_funcs = [\"format\", {exec}]\n"));
    space.write("own/score.awk", SCORE);
    run(&space, 0, "");
    let entry = state_of(&space, "")["log_history"][0].clone();
    assert_eq!(entry["rewards/mine/missing"], 1.0, "the fifth of eight: {entry}");
    assert!(entry["rewards/mine/mean"].as_f64().unwrap() > 0.0, "{entry}");
    assert!(run(&space, 0, "").stdout.contains("\"name\":\"grpo\",\"state\":\"hit\""));
    space.write("own/score.awk", &SCORE.replace("% 10", "% 9"));
    let told = space.expect(0, "explain pipeline.toml grpo --profile smoke").stdout;
    assert!(told.contains("reward_funcs[].sources.own/score.awk"), "{told}");
    space.write("own/score.awk", "{ exit 3 }\n");
    let told = run(&space, 1, "");
    assert!(told.stdout.contains("reward `mine`: `awk` ended with exit status: 3"), "{}", told.stdout);
}

#[test]
fn examples_of_rewards_are_run_by_check() {
    let tests = |expect: &str| {
        format!(
            "reward_funcs = [\"accuracy\", {{ name = \"regex\", pattern = \"^<think>\", tests = [\n  \
             {{ completion = \"<think>so\", expect = 1 }},\n  {{ completion = \"so\", expect = {expect} }},\n] }}]\n"
        )
    };
    let space = shipped(&tests("0"));
    space.expect(0, "check pipeline.toml");
    space.write("pipeline.toml", &space.read("pipeline.toml").replace("\"so\", expect = 0", "\"so\", expect = 0.5"));
    let told = space.expect(2, "check pipeline.toml").stderr;
    assert!(told.contains("regex_reward: `so` earns 0, not 0.5") && told.contains("completion = \"so\""), "{told}");
}

/// A reward for a word that anybody can say, and that the untrained model says in one of twenty answers.
const HACKABLE: &str = "reward_funcs = [{ name = \"regex\", pattern = \"of\" }]\n";

#[test]
fn a_reward_that_rises_alone_is_stopped() {
    let sentinel =
        "sentinels.flat_accuracy = { action = \"stop\", metric = \"reward\", threshold = 0.15, window = 10 }\n";
    let space = shipped(&format!("{HACKABLE}{sentinel}"));
    let set = [("max_steps", "120"), ("learning_rate", "1e-2"), ("num_generations", "8")];
    let set = set.map(|(name, value)| format!("--set stages.grpo.params.{name}={value} "));
    let told = run(&space, 1, &format!("{}--set stages.grpo.params.per_device_train_batch_size=16", set.concat()));
    for word in ["sentinel `flat_accuracy` at step ", "is above its threshold 0.15", "the stage was stopped"] {
        assert!(told.stdout.contains(word), "`{word}` is missing in: {}", told.stdout);
    }
}

const BACK: &str = "sentinels.kl = { action = \"rollback\", threshold = 0.02, window = 1 }\n\
    rollback = { steps = 4, learning_rate_factor = 1e-4 }\n";

#[test]
fn a_rollback_lowers_the_rate_and_is_the_same_after_a_kill() {
    let space = shipped(&format!("{HACKABLE}{BACK}"));
    let long = "--set stages.grpo.params.max_steps=120 --set stages.grpo.params.learning_rate=5e-3";
    run(&space, 0, &format!("{long} --store undisturbed"));
    let history = |store: &str| state_of(&space, &format!("{long} --store {store}"));
    let whole = history("undisturbed");
    let alarms: Vec<&Value> = whole["stateful_callbacks"]["sentinels"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|alarm| !alarm["back_to"].is_null())
        .collect();
    assert_eq!((alarms.len(), &alarms[0]["sentinel"]), (1, &"kl".into()), "{alarms:?}");
    let (fired, back) = (alarms[0]["step"].as_u64().unwrap(), alarms[0]["back_to"].as_u64().unwrap());
    assert!(back % 4 == 0 && back + 2 <= fired, "{alarms:?}");
    let log = whole["log_history"].as_array().unwrap();
    let steps: Vec<u64> = log.iter().map(|entry| entry["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=120).collect::<Vec<u64>>(), "each step of the way once");
    assert!(log[back as usize]["learning_rate"].as_f64().unwrap() < 1e-5);

    prepare(&space, "--store killed");
    let mut runner = command(&space, &format!("{long} --store killed")).spawn().unwrap();
    let checkpoint = |step: u64| {
        let actions = fs::read_dir(space.path("killed/wip")).into_iter().flatten().flatten();
        actions.map(|action| action.path().join(format!("checkpoint-{step}"))).any(|path| path.exists())
    };
    wait_until("a checkpoint after the rollback", || (fired + 1..120).any(checkpoint));
    runner.kill().unwrap();
    runner.wait().unwrap();
    let mark = space.path("killed").to_string_lossy().into_owned();
    wait_until("the end of every worker", || processes_with(&mark).is_empty());
    assert!(run(&space, 0, &format!("{long} --store killed")).stdout.contains("resumed from step"));
    assert_eq!(history("killed"), whole);
}

#[test]
fn the_readme_shows_rewards_and_sentinels_that_are_valid() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let example = readme.split("```toml\n").find(|block| block.contains("[profiles.watched.")).unwrap();
    let space = shipped(SHIPPED);
    let example = example.split("```").next().unwrap();
    space.write("pipeline.toml", &format!("{}\n{example}", space.read("pipeline.toml")));
    space.write("rewards/short.py", "");
    space.expect(0, "check pipeline.toml --profile watched");
    space.write("pipeline.toml", &space.read("pipeline.toml").replace("expect = 0.0", "expect = 1.0"));
    space.expect(2, "check pipeline.toml --profile watched");
}

#[test]
fn a_model_served_by_this_program_judges() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/qwen3");
    let space = shipped(
        "reward_funcs = [\"format\", { name = \"judge\", model = \"tiny\", max_tokens = 4, \
         prompt_template = \"{answer}\" }]\n",
    );
    let serve = format!(
        "[stages.judge]\nkind = \"exec\"\nparams = {{ command = [\"{}\", \"serve\", \"{model}\", \
         \"--served-model-name\", \"tiny\"] }}\n",
        env!("CARGO_BIN_EXE_gazal-pipe")
    );
    let text = space.read("pipeline.toml").replacen("[stages.grpo]\n", "[stages.grpo]\nservice = \"judge\"\n", 1);
    space.write("pipeline.toml", &format!("{text}\n{serve}"));
    run(&space, 0, "");
    let log = state_of(&space, "")["log_history"].clone();
    let missing = log[0]["rewards/judge/missing"].as_f64().unwrap();
    assert!(missing > 0.0, "random weights know no tiers, and what they say is no reward: {log}");
}
