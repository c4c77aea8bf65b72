//! Teachers: an endpoint that behaves as endpoints do, our own server, and a model of an earlier stage.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::model::Server;
use crate::rewards::chat_server::{ChatServer, Says};
use crate::rewards::said_anywhere;
use crate::space::{Answer, TestSpace, answer};

const SECRET: &str = "sk-teacher-secret";

/// Rows of questions with four options each, and a stage that has them taught.
fn asking(rows: usize, params: &str) -> TestSpace {
    let space = TestSpace::new();
    let row = |at: usize| {
        json!({ "id": format!("row-{at}"), "prompt": format!("question {at}"), "item": {
            "id": format!("row-{at}"), "benchmark": "medqa", "cluster": "c", "question": format!("question {at}"),
            "options": ["one", "two", "three", "four"], "answer": 1 } })
    };
    let text: String = (0..rows).map(|at| format!("{}\n", row(at))).collect();
    space.write("rows/train.jsonl", &text);
    teach(&space, params);
    space
}

fn teach(space: &TestSpace, params: &str) {
    space.pipeline(&format!(
        "[stages.rows]\nkind = \"source\"\nparams = {{ path = \"rows\", type = \"dataset\" }}\n\
         [stages.teach]\nkind = \"teach\"\ninputs = {{ rows = \"rows\" }}\n[stages.teach.params]\n{params}\n"
    ));
}

fn run(space: &TestSpace, code: i32) -> Answer {
    let mut command = space.command("run --json pipeline.toml");
    let told = answer(&command.env("TEACHER_KEY", SECRET).output().unwrap());
    assert_eq!(told.code, code, "{}{}", told.stdout, told.stderr);
    told
}

/// The rows of an output.
fn rows(space: &TestSpace, output: &str) -> Vec<Value> {
    space.expect(0, &format!("get pipeline.toml teach.{output} got"));
    let text = space.read("got/train.jsonl");
    fs::remove_dir_all(space.path("got")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn asked(body: &Value) -> String {
    body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string()
}

/// One answer of each sort, by the row's number.
fn said(body: &Value) -> Says {
    let asked = asked(body);
    let number: usize = asked.rsplit(' ').next().unwrap().parse().unwrap();
    let steps = "Step 1: this.\nStep 2: that.";
    Says::Text(match number % 6 {
        0 | 1 => format!("<think>\n{steps}\n</think>\n\n## Answer\nThe answer is B."),
        2 => format!("<think>\n{steps}\n</think>\nThe answer is C."),
        3 => "The answer is B.".into(),
        4 => "<think>\nStep 1: this.\n</think>\nThe answer is B.".into(),
        _ => format!("<think>\n{steps}\n</think>\n"),
    })
}

#[test]
fn answers_are_checked_and_rows_that_stay_are_not_asked_again() {
    let server = ChatServer::new(|body, before| match before {
        0 => Says::Status("429 Too Many Requests", "Retry-After: 0\r\n", String::new()),
        _ => said(body),
    });
    let params = format!(
        "model = \"big\"\nverify = true\nmin_steps = 2\n\
         endpoint = {{ base_url = \"{}\", api_key_env = \"TEACHER_KEY\", price = {{ input = 1e6, output = 1e6 }} }}",
        server.url
    );
    let space = asking(12, &format!("limit = 2\n{params}"));
    run(&space, 0);
    assert_eq!((server.calls(), rows(&space, "dataset").len()), (3, 2), "the first two, one of which was busy");
    teach(&space, &params);
    run(&space, 0);
    assert_eq!(server.calls(), 13, "those two are not asked again");
    let examples = rows(&space, "dataset");
    assert_eq!(examples.len(), 4);
    let first = &examples[0];
    assert_eq!((&first["prompt"], &first["parents"]), (&json!("question 0"), &json!(["row-0"])));
    assert_eq!((&first["teacher"], &first["scores"]["steps"]), (&json!("big"), &json!(2)));
    assert!(first["completion"].as_str().unwrap().starts_with("<think>\nStep 1"), "{first}");
    assert!(first["item"].is_object() && first["id"] != "row-0", "{first}");
    let mut reasons = BTreeMap::new();
    for row in rows(&space, "rejected") {
        *reasons.entry(row["reason"].as_str().unwrap().to_string()).or_insert(0) += 1;
    }
    let expected = [("no_answer", 2), ("no_reasoning", 2), ("too_few_steps", 2), ("wrong", 2)];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_string(), count)).into());
    let templates: Vec<String> = examples.iter().map(|row| row["template"].as_str().unwrap().into()).collect();
    assert!(templates.iter().any(|template| *template != templates[0]), "{templates:?}");
    let (head, body) = server.seen().remove(1);
    assert!(head.contains(&format!("Bearer {SECRET}")), "{head}");
    assert_eq!((&body["messages"][0]["role"], &body["max_tokens"]), (&json!("system"), &json!(2048)));

    assert!(run(&space, 0).stdout.contains("\"ran\":0"));
    space.write("rows/train.jsonl", &space.read("rows/train.jsonl").replace("\"question 7\"", "\"question 70\""));
    run(&space, 0);
    assert_eq!(server.calls(), 14, "one row was edited");
    teach(&space, &params.replace("min_steps = 2", "min_steps = 1"));
    run(&space, 0);
    assert_eq!(server.calls(), 14, "answers are judged anew, and not asked for anew");
    assert_eq!(rows(&space, "dataset").len(), 6);
    assert!(!said_anywhere(&space.path(""), SECRET), "the key is on the disk");
}

#[test]
fn a_budget_ends_the_asking_and_what_was_answered_is_kept() {
    let server = ChatServer::new(|body, _| said(body));
    let params = |more: &str| {
        format!("model = \"big\"\nendpoint = {{ base_url = \"{}\", max_concurrency = 1{more} }}", server.url)
    };
    let space = asking(6, &params(", max_calls = 4"));
    let told = run(&space, 1);
    assert!(told.stdout.contains("`max_calls` is spent"), "{}", told.stdout);
    assert_eq!(server.calls(), 4);
    teach(&space, &params(""));
    run(&space, 0);
    assert_eq!(server.calls(), 6, "what was answered is asked again");
    teach(&space, &params(", offline = true"));
    assert!(run(&space, 0).stdout.contains("\"ran\":0"), "how it is asked is in no key");
}

#[test]
fn too_many_rejected_answers_fail_the_stage() {
    let server = ChatServer::new(|_, _| Says::Text("no idea".into()));
    let space = asking(3, &format!("model = \"big\"\nendpoint = {{ base_url = \"{}\" }}", server.url));
    let told = run(&space, 1);
    assert!(told.stdout.contains("3 of 3 answers are rejected: 3 no_reasoning"), "{}", told.stdout);
    teach(
        &space,
        "model = \"big\"\ntemplates = [{ name = \"own\", user = \"{{ symptom }}\" }]\nendpoint.base_url = \"http://x\"",
    );
    let told = run(&space, 1);
    assert!(told.stdout.contains("row row-0, template `own.user`") && told.stdout.contains("id, prompt, item"));
}

#[test]
fn mistakes_in_templates_are_found_before_anything_runs() {
    let space =
        asking(1, "templates = [\"diagnostic_reasoning\", \"diagnostic_reasoning\"]\nprompt = \"{{ x\"\ntop_p = 2");
    let told = space.expect(2, "check pipeline.toml").stderr;
    for word in ["is no template", "is not a name of its own", "between 0 and 1"] {
        assert!(told.contains(word), "`{word}` is missing in {told}");
    }
}

/// What is planned is known before anything is asked, and a look at some rows is paid for once.
#[test]
fn costs_are_planned_and_some_rows_are_looked_at_first() {
    let server = ChatServer::new(|body, _| said(body));
    let params = format!(
        "model = \"big\"\nmax_new_tokens = 500\nendpoint = {{ base_url = \"{}\", requests_per_minute = 3000, max_cost = 2, \
         price = {{ input = 0, output = 1000 }} }}",
        server.url
    );
    let space = asking(12, &params);
    space.expect(0, "run pipeline.toml rows");
    let plan = space.expect(0, "plan pipeline.toml").stdout;
    assert!(
        plan.contains("`teach` asks at most 12 times") && plan.contains("6.00 at its price (more than its"),
        "{plan}"
    );
    assert_eq!(server.calls(), 0);
    let told = space.expect(0, "preview pipeline.toml teach --rows 2").stdout;
    assert!(told.contains("dataset, row 2 of 2\n") && told.contains("  prompt: question 1\n"), "{told}");
    assert!(told.contains("  completion:\n    <think>\n    Step 1: this.\n"), "{told}");
    assert_eq!(server.calls(), 2);
    run(&space, 0);
    assert_eq!(server.calls(), 12, "those two are not asked again");
    let told = space.expect(0, "preview pipeline.toml teach --rows 4 --json").stdout;
    let shown: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(shown.iter().any(|line| line["output"] == "rejected" && line["row"]["reason"] == "no_reasoning"), "{told}");
    let told = space.expect(2, "preview pipeline.toml rows").stderr;
    assert!(told.contains("`source` has no parameter `limit`"), "{told}");
}

/// A judge's ratings, and whether reasoning without its conclusion leads to the answer: what `curate` then filters by.
#[test]
fn rows_are_graded_and_their_answers_regenerated() {
    let server = ChatServer::new(|body, _| {
        let asked = asked(body);
        let text = match &asked {
            asked if asked.contains("Rate") || asked.contains("rate the whole") => match asked.as_str() {
                asked if asked.contains("question 0") => "Nothing is wrong.\nRating: 5",
                asked if asked.contains("question 1") => "A slip.\n**Rating:** 4",
                asked if asked.contains("question 2") => "Rating: 2",
                _ => "I would rather not.",
            },
            asked if asked.contains("Do both say the same") => "Same: yes",
            asked if asked.contains("The answer is B") => "the conclusion was not cut off",
            asked if asked.contains("question 1") => "The answer is C.",
            asked if asked.contains("question 3") => "gouty arthritis",
            _ => "The answer is B.",
        };
        Says::Text(text.into())
    });
    let space = TestSpace::new();
    let row = |at: usize| {
        let completion = "<think>\nStep 1: a thought.\nStep 2: The answer is B.\n</think>\n\nThe answer is B.";
        let mut row = json!({ "id": format!("row-{at}"), "prompt": format!("question {at}"), "completion": completion,
            "scores": { "steps": 2 } });
        match at {
            3 => {
                row["answer"] = "gout".into();
                row["item"] = json!({ "id": "row-3", "benchmark": "b", "question": "question 3", "options": ["gout"],
                    "answer": 0, "open": true });
            }
            _ => {
                row["item"] = json!({ "id": format!("row-{at}"), "benchmark": "medqa", "cluster": "c",
                    "question": format!("question {at}"), "options": ["one", "two", "three"], "answer": 1 });
            }
        }
        format!("{row}\n")
    };
    space.write("rows/train.jsonl", &(0..4).map(row).collect::<String>());
    let pipeline = |unread: f64| {
        space.pipeline(&format!(
            "[stages.rows]\nkind = \"source\"\nparams = {{ path = \"rows\", type = \"dataset\" }}\n\
             [stages.grade]\nkind = \"grade\"\ninputs = {{ rows = \"rows\" }}\n[stages.grade.params]\nmodel = \"judge\"\n\
             criteria = [\"quality\", \"regenerated\"]\nmax_unread_ratio = {unread}\n\
             endpoint = {{ base_url = \"{}\" }}\n[stages.good]\nkind = \"curate\"\ninputs = {{ rows = \"grade.dataset\" }}\n\
             params = {{ steps = [{{ step = \"filter\", expression = \
             \"row.scores.quality is not none and row.scores.quality >= 4 and row.scores.regenerated == 1\" }}] }}\n",
            server.url
        ));
    };
    pipeline(0.1);
    let told = run(&space, 1);
    assert!(told.stdout.contains("of 1 of 4 replies no grade by `quality` can be read"), "{}", told.stdout);
    assert_eq!(server.calls(), 9, "four ratings, four answers, one comparison");
    pipeline(0.3);
    run(&space, 0);
    assert_eq!(server.calls(), 9, "they are kept");
    space.expect(0, "get pipeline.toml grade.dataset got");
    let graded = space.read("got/train.jsonl");
    let scores: Vec<Value> =
        graded.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["scores"].clone()).collect();
    assert_eq!(scores[0], json!({ "steps": 2, "quality": 5.0, "regenerated": 1.0 }));
    assert_eq!(scores[1], json!({ "steps": 2, "quality": 4.0, "regenerated": 0.0 }));
    assert_eq!(scores[2], json!({ "steps": 2, "quality": 2.0, "regenerated": 1.0 }));
    assert_eq!(
        scores[3],
        json!({ "steps": 2, "quality": null, "regenerated": 1.0 }),
        "the judge says that both are the same"
    );
    space.expect(0, "get pipeline.toml good.dataset good");
    let kept = space.read("good/train.jsonl");
    assert!(kept.lines().count() == 1 && kept.contains("row-0"), "{kept}");
    space.expect(0, "get pipeline.toml grade.report report");
    let report: Value = serde_json::from_str(&space.read("report/grade.json")).unwrap();
    assert_eq!(report["criteria"]["quality"]["given"], json!({ "2": 1, "4": 1, "5": 1 }));
    assert_eq!(report["criteria"]["regenerated"]["mean"], 0.75);
    assert!(!space.read("report/replies.jsonl").contains("the conclusion was not cut off"));
}

/// Our own server as an endpoint, and its model as the model of a stage: some of what a model that knows nothing says ends
/// by itself.
#[test]
fn our_own_server_teaches_and_so_does_its_model() {
    let space = asking(16, "");
    let plain = "templates = [{ name = \"plain\", user = \"{{ prompt }}\" }]\nrequire_reasoning = false\n\
                 max_new_tokens = 200\ntemperature = 2.0\n";
    let served = Server::start(&space, "--max-model-len 300");
    let endpoint = format!("{{ base_url = \"http://{}/v1\", api_key_env = \"TEACHER_KEY\" }}", served.address);
    teach(&space, &format!("{plain}model = \"tiny\"\nendpoint = {endpoint}"));
    run(&space, 0);
    let examples = rows(&space, "dataset");
    assert!(!examples.is_empty() && examples.iter().all(|row| row["teacher"] == "tiny"), "{examples:?}");
    drop(served);

    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/qwen3");
    let local = |params: &str| {
        teach(&space, &format!("{plain}{params}"));
        let text = space.read("pipeline.toml").replace("{ rows = \"rows\" }", "{ rows = \"rows\", model = \"tiny\" }");
        let source = format!("[stages.tiny]\nkind = \"source\"\nparams = {{ path = \"{model}\", type = \"model\" }}\n");
        space.write("pipeline.toml", &text.replacen("[stages.rows]", &format!("{source}[stages.rows]"), 1));
    };
    local("batch_size = 3");
    run(&space, 0);
    let (examples, rejected) = (rows(&space, "dataset"), rows(&space, "rejected"));
    assert!(!examples.is_empty() && examples.len() + rejected.len() == 16);
    assert!(rejected.iter().all(|row| row["reason"] == "unfinished"), "{rejected:?}");
    local("batch_size = 16");
    assert!(run(&space, 0).stdout.contains("\"ran\":0"), "the batch is in no key");
    fs::remove_dir_all(space.path("cache")).unwrap();
    run(&space, 0);
    assert_eq!((rows(&space, "dataset"), rows(&space, "rejected")), (examples, rejected), "neighbours change nothing");
}
