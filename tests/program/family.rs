//! The other systems that are reproduced, in their `smoke` profiles: every stage is real, only small.

use std::fs;

use serde_json::Value;

use crate::space::{TestSpace, answer};

const SMOKE: &str = "--profile smoke";

/// A folder with a shipped pipeline.
fn shipped(name: &str) -> TestSpace {
    let space = TestSpace::new();
    let path = format!("{}/pipelines/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    space.write("pipeline.toml", &fs::read_to_string(path).unwrap());
    space
}

/// All stages run, and a second time none.
fn runs_once(space: &TestSpace, stages: usize) {
    let first = space.states(SMOKE);
    assert_eq!(first.len(), stages, "{first:?}");
    assert!(first.iter().all(|(_, state)| state == "ran"), "{first:?}");
    let second = space.states(SMOKE);
    assert!(second.len() == stages && second.iter().all(|(_, state)| state == "hit"), "{second:?}");
}

/// A file of an output of a stage.
fn file_of(space: &TestSpace, output: &str, file: &str) -> Vec<u8> {
    space.expect(0, &format!("get pipeline.toml {output} got {SMOKE}"));
    let bytes = fs::read(space.path(&format!("got/{file}"))).unwrap();
    fs::remove_dir_all(space.path("got")).unwrap();
    bytes
}

fn json_of(space: &TestSpace, output: &str, file: &str) -> Value {
    serde_json::from_slice(&file_of(space, output, file)).unwrap()
}

/// Who is compared with whom on the pages of a report.
fn compared(report: &Value) -> Vec<(String, String)> {
    let rows = report["tables"][0]["differences"].as_array().unwrap();
    let name = |row: &Value, side: &str| row[side].as_str().unwrap().to_string();
    rows.iter().map(|row| (name(row, "left"), name(row, "right"))).collect()
}

fn neighbours(models: &[&str]) -> Vec<(String, String)> {
    models.windows(2).map(|pair| (pair[0].to_string(), pair[1].to_string())).collect()
}

#[test]
fn qwen2_5_with_grpo_runs_once_and_then_not_again() {
    let space = shipped("qwen2.5-medical-grpo");
    runs_once(&space, 16);
    for (answer, models) in [("drawn", ["base", "sft", "grpo"]), ("likeliest", ["base, T=0", "sft, T=0", "grpo, T=0"])]
    {
        let report = json_of(&space, &format!("report@answer={answer}.report"), "report.json");
        assert_eq!(compared(&report), neighbours(&models));
    }
    let state = json_of(&space, "grpo.history", "trainer_state.json");
    let last = state["log_history"].as_array().unwrap().last().unwrap();
    assert!(last["kl"].is_number() && last["rewards/accuracy_reward/mean"].is_number(), "{last}");
}

#[test]
fn the_real_models_of_qwen2_5_are_checked_and_planned_and_asked_of_the_hub() {
    let space = shipped("qwen2.5-medical-grpo");
    for size in ["0.5", "1.5"] {
        let profile = format!("--profile qwen2.5-{size}b");
        space.expect(0, &format!("check pipeline.toml {profile}"));
        space.expect(0, &format!("plan pipeline.toml {profile}"));
        let mut command = space.command(&format!("run pipeline.toml {profile}"));
        let told = answer(&command.env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap());
        assert_eq!(told.code, 2, "{}", told.stderr);
        let model = format!("Qwen/Qwen2.5-{size}B-Instruct");
        assert!(told.stderr.contains(&model) && told.stderr.contains("cannot reach the hub"), "{}", told.stderr);
    }
}

#[test]
fn ablations_run_once_and_compare_what_differs_in_one_thing() {
    let space = shipped("ablations");
    runs_once(&space, 41);
    for (way, use_rslora, use_dora) in
        [("lora", false, false), ("rslora", true, false), ("both", true, true), ("dora", false, true)]
    {
        let config = json_of(&space, &format!("sft@seed=1,way={way}.adapter"), "adapter_config.json");
        assert_eq!([&config["use_rslora"], &config["use_dora"]], [use_rslora, use_dora], "{way}");
    }
    let beside = [
        ("lora", &["rslora"][..]),
        ("both", &["rslora", "dora"]),
        ("both", &["adamw", "adamw-twice"]),
        ("both", &["all"]),
        ("all", &["no-accuracy", "no-format", "no-cosine", "no-repetition"]),
        ("both", &["short"]),
        ("short", &["short-guarded"]),
        ("grpo", &["dapo", "dr_grpo", "gspo"]),
    ];
    let pairs =
        beside.iter().flat_map(|(baseline, labels)| labels.iter().map(|label| neighbours(&[*baseline, *label])));
    let report = json_of(&space, "report.report", "report.json");
    assert_eq!(compared(&report), pairs.flatten().collect::<Vec<_>>());
    assert_eq!(report["comparisons"].as_array().unwrap().len(), beside.len());
    let rewards = |paid: &str| {
        let state = json_of(&space, &format!("rewards@seed=1,paid={paid}.history"), "trainer_state.json");
        let entry = state["log_history"][0].as_object().unwrap().clone();
        entry.into_iter().filter(|(name, _)| name.starts_with("rewards/") && name.ends_with("/mean")).count()
    };
    assert_eq!(["all", "no-accuracy", "no-format", "short"].map(rewards), [4, 3, 3, 2]);
}

#[test]
fn ablations_of_full_size_are_checked_and_planned() {
    let space = shipped("ablations");
    for profile in ["", "--profile full"] {
        space.expect(0, &format!("check pipeline.toml {profile}"));
        space.expect(0, &format!("plan pipeline.toml {profile}"));
    }
}

/// Where a generation is used for one update every ratio is 1, so the level at which it is taken changes nothing: the
/// adapters are equal to the bit. With several updates they are not.
#[test]
fn medical_gspo_shows_where_the_level_of_the_ratio_tells() {
    let space = shipped("medical-gspo");
    runs_once(&space, 20);
    let adapter = |run: &str| file_of(&space, &format!("gspo@run={run}.adapter"), "adapter_model.safetensors");
    assert!(adapter("card") == adapter("card-token"), "the level told with one update a generation");
    assert!(adapter("sequence") != adapter("token"), "the level did not tell with four updates a generation");
    let prompts = String::from_utf8(file_of(&space, "questions.prompts", "train.jsonl")).unwrap();
    assert!(prompts.contains("？") && prompts.contains("\"open\":true"), "{prompts}");
    let report = json_of(&space, "report.report", "report.json");
    let expected = [("sft", "gspo"), ("gspo-token", "gspo"), ("off-token", "off-sequence")];
    assert_eq!(compared(&report), expected.map(|(left, right)| (left.to_string(), right.to_string())));
}

#[test]
fn targets_that_a_hybrid_model_lacks_are_named() {
    let space = shipped("medical-gspo");
    let told = |targets: &str| {
        let answer = space.expect(0, &format!("run pipeline.toml hybrid-sft@targets={targets} {SMOKE}"));
        answer.stdout + &answer.stderr
    };
    let (card, all) = (told("card"), told("all-linear"));
    assert!(card.contains("reaches attention in 1 of 4 layers") && card.contains("in_proj_qkv"), "{card}");
    assert!(!all.contains("reaches attention"), "{all}");
}

#[test]
fn the_card_s_model_and_a_served_judge_are_checked_and_planned() {
    let space = shipped("medical-gspo");
    for profile in ["qwen3.5-4b", "served-judge", "qwen3.5-4b --profile served-judge"] {
        space.expect(0, &format!("check pipeline.toml --profile {profile}"));
        let plan = space.expect(0, &format!("plan pipeline.toml --profile {profile}")).stdout;
        assert!(plan.contains("`gspo@run=card` asks at most"), "{profile}: {plan}");
    }
}

/// The served judge of the file, with weights that know no tier in the place of the large model's.
#[test]
fn medical_gspo_asks_a_judge_that_a_stage_serves() {
    let space = shipped("medical-gspo");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/qwen3");
    let text = space.read("pipeline.toml");
    let fetched = "kind = \"fetch-model\"\nparams = { model_name_or_path = \"${params.judge_model}\" }";
    let read = format!("kind = \"source\"\nparams = {{ path = \"{model}\", type = \"model\" }}");
    let text = text
        .replacen(fetched, &read, 1)
        .replacen("judge_model = \"Qwen/Qwen3-8B\"\n", "", 1)
        .replacen("judge-model.model", "judge-model.out", 1)
        .replacen("max_tokens = 2048", "max_tokens = 4, prompt_template = \"{answer}\"", 1);
    space.write("pipeline.toml", &text);
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_gazal-pipe")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let profiles = format!("{SMOKE} --profile served-judge");
    let mut command = space.command(&format!("run pipeline.toml gspo@run=card {profiles}"));
    let told = answer(&command.env("PATH", path).output().unwrap());
    assert_eq!(told.code, 0, "{}", told.stderr);
    space.expect(0, &format!("get pipeline.toml gspo@run=card.history got {profiles}"));
    let state: Value = serde_json::from_str(&space.read("got/trainer_state.json")).unwrap();
    let missing = state["log_history"][0]["rewards/judge/missing"].as_f64().unwrap();
    assert!(missing > 0.0, "random weights know no tiers, and what they say is no reward: {state}");
}
