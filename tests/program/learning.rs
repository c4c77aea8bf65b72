//! The main job itself, in its `smoke` profile: every stage is real, only small.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::space::{TestSpace, answer, processes_with, wait_until};

/// A folder with the shipped pipeline, and the words that name it in its smallest profile.
fn shipped() -> TestSpace {
    let space = TestSpace::new();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/gazal-r1.toml")).unwrap();
    space.write("pipeline.toml", &text);
    space
}

const SMOKE: &str = "--profile smoke";

/// Name to state of every stage of a run.
fn states(space: &TestSpace, words: &str) -> Vec<(String, String)> {
    space.states(&format!("{SMOKE} {words}"))
}

fn ran(states: &[(String, String)]) -> Vec<&str> {
    states.iter().filter(|(_, state)| state == "ran").map(|(name, _)| name.as_str()).collect()
}

const STAGES: [&str; 14] = [
    "knowledge",
    "synth",
    "benchmarks",
    "contamination",
    "tokenizer",
    "base",
    "sft",
    "grpo",
    "merge",
    "eval@model=base",
    "eval@model=sft",
    "eval@model=grpo",
    "eval@model=merged",
    "report",
];

#[test]
fn the_shipped_pipeline_runs_once_and_then_not_again() {
    let space = shipped();
    let first = states(&space, "");
    assert_eq!(first.len(), STAGES.len());
    assert!(first.iter().all(|(_, state)| state == "ran"), "{first:?}");
    let second = states(&space, "");
    assert!(second.iter().all(|(_, state)| state == "hit"), "{second:?}");

    let text = space.read("pipeline.toml");
    space.write("pipeline.toml", &format!("# a remark\n{text}"));
    assert!(ran(&states(&space, "")).is_empty(), "a comment made work");

    a_changed_parameter(&space);
    the_report(&space);
    what_the_adapter_is(&space);
    rows_that_come_out_equal(&space);
}

/// `beta` of grpo: plan says so, explain names it, grpo and what follows run.
fn a_changed_parameter(space: &TestSpace) {
    let text = space.read("pipeline.toml");
    space.write("pipeline.toml", &text.replace("beta = 0.01\n", "beta = 0.02\n"));
    assert_eq!(space.planned(SMOKE, "grpo")["state"], "run");
    assert_eq!(space.planned(SMOKE, "sft")["state"], "hit");
    assert_eq!(space.planned(SMOKE, "merge")["state"], "maybe");
    let cause = space.planned(SMOKE, "grpo")["causes"][0].clone();
    let line = 1 + text.lines().position(|line| line == "beta = 0.01").unwrap();
    assert_eq!(cause["field"], "params.beta");
    assert_eq!((&cause["was"], &cause["now"]), (&Value::from(0.01), &Value::from(0.02)));
    assert_eq!(cause["place"]["line"], line);
    let told = space.expect(0, &format!("explain pipeline.toml grpo {SMOKE}")).stdout;
    for word in ["beta", "0.01", "0.02", &format!("pipeline.toml:{line}")] {
        assert!(told.contains(word), "`{word}` is missing in: {told}");
    }
    let done = states(space, "");
    assert_eq!(ran(&done), ["grpo", "merge", "eval@model=grpo", "eval@model=merged", "report"]);
}

fn the_report(space: &TestSpace) {
    space.expect(0, &format!("get --with-card pipeline.toml merge.model card {SMOKE}"));
    let card = space.read("card/README.md");
    assert!(card.contains("must not be used to diagnose") && space.path("card/config.json").exists(), "{card}");
    space.expect(0, &format!("get pipeline.toml report.report out {SMOKE}"));
    let page = space.read("out/report.html");
    assert!(page.contains("<svg") && page.contains("clinical"), "curves and the disclaimer are on the page");
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page is self-contained");
    let numbers: Value = serde_json::from_str(&space.read("out/report.json")).unwrap();
    assert!(numbers.is_object());
    space.expect(0, &format!("get pipeline.toml merge.metrics merged {SMOKE}"));
    let merged: Value = serde_json::from_str(&space.read("merged/metrics.json")).unwrap();
    assert!(merged["merge"]["max_logit_difference"].as_f64().unwrap() < 1e-3);
}

/// DoRA + rsLoRA on all seven projections, as the file says.
fn what_the_adapter_is(space: &TestSpace) {
    space.expect(0, &format!("get pipeline.toml sft.adapter adapter {SMOKE}"));
    let config: Value = serde_json::from_str(&space.read("adapter/adapter_config.json")).unwrap();
    assert_eq!((&config["use_dora"], &config["use_rslora"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 7);
}

/// More tries than needed give the same rows: only synth runs.
fn rows_that_come_out_equal(space: &TestSpace) {
    let text = space.read("pipeline.toml");
    let wider = text.replace("kind = \"synth\"", "kind = \"synth\" # the same rows\nenabled = true");
    space.write("pipeline.toml", &wider);
    assert!(ran(&states(space, "")).is_empty());
    let done = states(space, "--force synth");
    assert_eq!(ran(&done), ["synth"], "equal rows stop the wave");
}

/// Every file of a stage's value outputs, what it trained and its record, copied out of a store: name to bytes.
fn value_outputs(
    space: &TestSpace,
    words: &str,
    (stage, trained): (&str, &str),
    store: &str,
) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for output in [trained, "history"] {
        let folder = format!("{store}-{output}");
        let words = words.replacen(stage, &format!("{stage}.{output} {folder}"), 1);
        space.expect(0, &format!("get {words} --store {store}"));
        for path in files(&space.path(&folder)) {
            let name = path.strip_prefix(space.path(&folder)).unwrap().display().to_string();
            all.insert(name, fs::read(&path).unwrap());
        }
    }
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all
}

/// Whether any action of this store has reached a checkpoint.
fn has_checkpoint(store: &Path) -> bool {
    let wip = store.join("wip");
    wip.exists() && files(&wip).iter().any(|path| path.to_string_lossy().contains("checkpoint-1"))
}

/// A stage that is killed and taken up again.
struct Killed {
    space: TestSpace,
    stage: &'static str,
    /// The stage before it, and the output that is what it trained.
    before: &'static str,
    trained: &'static str,
    settings: String,
    /// Files of its outputs.
    files: usize,
}

impl Killed {
    /// A stage of the shipped pipeline, whose outputs are the adapter's two files, the two of the record, and so many files
    /// of completions.
    fn shipped(stage: &'static str, settings: &str, completions: usize) -> Killed {
        let before = if stage == "sft" { "base" } else { "sft" };
        let files = 4 + completions;
        Killed { space: shipped(), stage, before, trained: "adapter", settings: settings.into(), files }
    }
}

/// A stage that was killed at a checkpoint and taken up again leaves what one leaves that was not.
fn killed_and_resumed(Killed { space, stage, before, trained, settings, files }: &Killed) {
    let words = format!("pipeline.toml {stage} {SMOKE} {settings}");
    space.expect(0, &format!("run {words} --store undisturbed"));

    space.expect(0, &format!("run pipeline.toml {before} {SMOKE} {settings} --store killed"));
    let store = space.path("killed");
    let mut runner = space.start(&format!("run {words} --store killed"));
    wait_until("a checkpoint", || has_checkpoint(&store));
    runner.kill().unwrap();
    runner.wait().unwrap();
    let mark = store.to_string_lossy().into_owned();
    wait_until("the end of every worker", || processes_with(&mark).is_empty());
    assert!(has_checkpoint(&store), "{stage} was already done: it must be longer to be killed");

    let log = space.expect(0, &format!("run --json {words} --store killed")).stdout;
    assert!(log.contains("resumed from step"), "{log}");
    let resumed = value_outputs(space, &words, (stage, trained), "killed");
    assert_eq!(resumed.len(), *files, "{:?}", resumed.keys());
    let undisturbed = value_outputs(space, &words, (stage, trained), "undisturbed");
    let changed: Vec<&String> = resumed.keys().filter(|name| resumed.get(*name) != undisturbed.get(*name)).collect();
    assert!(changed.is_empty() && resumed.len() == undisturbed.len(), "{stage} came out otherwise: {changed:?}");
}

/// I23: what a model answers, and how likely it finds the options, does not depend on the rows beside a question.
#[test]
fn i23_the_batch_size_of_an_evaluation_changes_nothing() {
    let space = shipped();
    let samples = |size: usize| -> Vec<Value> {
        let words = format!("{SMOKE} --set stages.eval.params.batch_size={size}");
        space.expect(0, &format!("run pipeline.toml eval@model=sft {words}"));
        space.expect(0, &format!("get pipeline.toml eval@model=sft.samples samples {words}"));
        let rows = space.read("samples/samples.jsonl");
        fs::remove_dir_all(space.path("samples")).unwrap();
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    };
    let (alone, together) = (samples(1), samples(24));
    assert!(alone.len() == together.len() && alone.len() > 20, "{}", alone.len());
    for (alone, together) in alone.iter().zip(&together) {
        assert!(near(alone, together), "{alone}\n{together}");
    }
}

/// Equal, but for numbers that rounding makes differ.
fn near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-4 * a.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| near(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn sft_killed_and_resumed_gives_the_same_bytes() {
    killed_and_resumed(&Killed::shipped(
        "sft",
        "--set stages.sft.params.num_train_epochs=30 --set stages.sft.params.early_stopping_patience=0 \
         --set stages.sft.params.save_steps=10",
        0,
    ));
}

#[test]
fn grpo_killed_and_resumed_gives_the_same_bytes() {
    let set = ["max_steps=120", "log_completions=true", "save_steps=7"];
    let settings = set.map(|set| format!("--set stages.grpo.params.{set}")).join(" ");
    killed_and_resumed(&Killed::shipped("grpo", &settings, 120));
}

/// I19 with all that a run may carry from step to step: batches of prompts that were drawn and not used, several
/// updates on a generation, and a reference that follows the policy; and with all weights in bfloat16.
#[test]
fn grpo_with_a_moving_reference_killed_and_resumed_gives_the_same_bytes() {
    let set = [
        "max_steps=120",
        "num_iterations=2",
        "gradient_accumulation_steps=1",
        "steps_per_generation=2",
        "sync_ref_model=true",
        "ref_model_sync_steps=3",
        "filter_groups={max_num_gen_batches=3}",
        "entropy_coef=0.01",
        "log_completions=true",
    ];
    let narrow = ["base", "sft", "grpo"].map(|stage| format!("--set stages.{stage}.precision=bf16")).join(" ");
    let set = set.map(|set| format!("--set stages.grpo.params.{set}")).join(" ");
    killed_and_resumed(&Killed::shipped("grpo", &format!("{narrow} {set}"), 30));
}

/// The shipped pipeline with `use_peft = false` in both stages that have it: SFT makes a model, and GRPO goes on from it.
fn without_adapters() -> TestSpace {
    let space = shipped();
    let mut text = space.read("pipeline.toml");
    for (from, to) in [
        ("\nlora_r = 16\nlora_alpha = 16\nuse_dora = true\nuse_rslora = true\n", "\nuse_peft = false\n"),
        ("[profiles.smoke.stages.sft.params]\nlora_r = 4\n", "[profiles.smoke.stages.sft.params]\n"),
        ("model = \"base.model\", adapter = \"sft.adapter\", prompts", "model = \"sft.model\", prompts"),
        ("\n[stages.grpo.params]\n", "\n[stages.grpo.params]\nuse_peft = false\n"),
        ("model = \"base.model\", adapter = \"sft.adapter\" },", "model = \"sft.model\", adapter = \"\" },"),
        ("model = \"base.model\", adapter = \"grpo.adapter\" },", "model = \"grpo.model\", adapter = \"\" },"),
        ("kind = \"merge\"", "kind = \"merge\"\nenabled = false"),
        ("  { name = \"merged\", model = \"merge.model\", adapter = \"\" },\n", ""),
        (", \"merged\"]", "]"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    space.write("pipeline.toml", &text);
    space
}

#[test]
fn whole_models_are_trained_and_evaluated() {
    let space = without_adapters();
    let done = states(&space, "");
    assert!(done.len() == STAGES.len() - 2 && done.iter().all(|(_, state)| state == "ran"), "{done:?}");
    let weights = |stage: &str| {
        space.expect(0, &format!("get pipeline.toml {stage}.model {stage} {SMOKE}"));
        assert!(
            space.path(&format!("{stage}/tokenizer.json")).exists()
                && space.path(&format!("{stage}/config.json")).exists()
        );
        fs::read(space.path(&format!("{stage}/model.safetensors"))).unwrap()
    };
    let [base, sft, grpo] = ["base", "sft", "grpo"].map(weights);
    assert!(base.len() == sft.len() && base != sft && sft.len() == grpo.len() && sft != grpo);
    let stale = space.expect(2, &format!("check pipeline.toml {SMOKE} --set stages.sft.params.use_peft=true"));
    assert!(stale.stderr.contains("the stage `sft` has no output `model`"), "{}", stale.stderr);
    let told = space.expect(0, &format!("run pipeline.toml sft {SMOKE} --json --set stages.sft.params.lora_r=8"));
    assert!(told.stdout.contains("`lora_r` has no effect"), "{}", told.stdout);
}

/// A policy that is a whole model, with a reference that follows it: both are in the checkpoint.
#[test]
fn grpo_of_a_whole_model_killed_and_resumed_gives_the_same_bytes() {
    let set = ["max_steps=120", "sync_ref_model=true", "ref_model_sync_steps=3", "save_steps=7"];
    let settings = set.map(|set| format!("--set stages.grpo.params.{set}")).join(" ");
    let killed =
        Killed { space: without_adapters(), stage: "grpo", before: "sft", trained: "model", settings, files: 6 };
    killed_and_resumed(&killed);
}

/// A second stage of SFT goes on with the adapter of the first, as that is, and takes no description of another.
#[test]
fn sft_goes_on_with_an_adapter() {
    let space = shipped();
    let text = space.read("pipeline.toml");
    let second = "\n[stages.more]\nkind = \"sft\"\n\
        inputs = { model = \"base.model\", adapter = \"sft.adapter\", dataset = \"synth.dataset\" }\n\
        params = { num_train_epochs = 0.2, learning_rate = 1e-3 }\n";
    space.write("pipeline.toml", &text.replace("\n[stages.grpo]\n", &format!("{second}\n[stages.grpo]\n")));
    space.expect(0, &format!("run pipeline.toml more {SMOKE}"));
    let adapter = |stage: &str| {
        space.expect(0, &format!("get pipeline.toml {stage}.adapter {stage} {SMOKE}"));
        let read = |name: &str| fs::read(space.path(&format!("{stage}/{name}"))).unwrap();
        (read("adapter_config.json"), read("adapter_model.safetensors"))
    };
    let ((config, weights), (more_config, more_weights)) = (adapter("sft"), adapter("more"));
    assert!(config == more_config && weights.len() == more_weights.len() && weights != more_weights);
    let told = space.expect(2, &format!("check pipeline.toml {SMOKE} --set stages.more.params.use_peft=false")).stderr;
    assert!(told.contains("`use_peft`") && told.contains("merge the adapter first"), "{told}");
}

/// Without an adapter as input `grpo` trains a new one, as its parameters describe it; with one it takes no description.
#[test]
fn grpo_trains_a_new_adapter_where_none_is_given() {
    let space = shipped();
    let text = space.read("pipeline.toml");
    let described = text.replace("\n[stages.grpo.params]\n", "\n[stages.grpo.params]\nlora_r = 3\nuse_dora = true\n");
    space.write("pipeline.toml", &described);
    let told = space.expect(2, &format!("check pipeline.toml {SMOKE}")).stderr;
    assert!(told.contains("`lora_r`: describes a new adapter") && told.contains("leave out `lora_r`"), "{told}");
    space.write("pipeline.toml", &described.replace("adapter = \"sft.adapter\", prompts", "prompts"));
    space.expect(0, &format!("run pipeline.toml merge {SMOKE}"));
    space.expect(0, &format!("get pipeline.toml grpo.adapter adapter {SMOKE}"));
    let config: Value = serde_json::from_str(&space.read("adapter/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["use_dora"], &config["lora_alpha"]), (&3.into(), &true.into(), &32.0.into()));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_stage_and_keeps_the_checkpoint() {
    let space = shipped();
    let words = "--set stages.base.params.learning_rate=1e18 --set stages.base.params.max_grad_norm=1e30 \
                 --set stages.base.params.save_steps=1 --set stages.base.params.warmup_ratio=0.0";
    let answer = space.expect(1, &format!("run pipeline.toml base {SMOKE} {words}"));
    let said = answer.stdout + &answer.stderr;
    for word in ["step ", "training rows", "checkpoint", "learning_rate"] {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[test]
fn parameters_that_cannot_work_are_refused_before_anything_runs() {
    let space = shipped();
    for (set, field) in [
        ("stages.grpo.params.num_generations=1", "num_generations"),
        ("stages.grpo.params.num_generations=3", "num_generations"),
        ("stages.sft.params.learning_rate=-1e-3", "learning_rate"),
        ("stages.sft.params.lora_rank=4", "lora_r"),
        ("stages.eval.params.tasks=[\"medqq\"]", "medqq"),
    ] {
        let answer = space.expect(2, &format!("run pipeline.toml {SMOKE} --set {set}"));
        assert!(answer.stderr.contains(field), "{}", answer.stderr);
    }
    let missing = space.run("check pipeline.toml --profile real-benchmarks --set params.data=nowhere");
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert!(missing.stderr.contains("nowhere"), "{}", missing.stderr);
}

/// A batch that no machine has the memory for is refused before anything is trained, and what it says helps.
#[test]
fn what_cannot_fit_into_memory_is_refused_before_it_is_trained() {
    let space = shipped();
    for stage in ["base", "sft", "grpo"] {
        let set = format!("--set stages.{stage}.params.per_device_train_batch_size=1000000000");
        let answer = space.run(&format!("run pipeline.toml {stage} {SMOKE} {set}"));
        let said = answer.stdout + &answer.stderr;
        assert_eq!(answer.code, 1, "{said}");
        for word in ["needs at least", "The largest part is", "lower `per_device_train_batch_size`"] {
            assert!(said.contains(word), "{stage}: `{word}` is missing in: {said}");
        }
        assert!(!said.contains(&format!("{stage}: 1/")), "{said}");
    }
    let told = space.expect(0, &format!("run --json pipeline.toml grpo {SMOKE} --store another")).stdout;
    assert_eq!(told.matches("of memory, most of it ").count(), 3, "each of three trainings says what it needs: {told}");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_backend_that_is_not_compiled_in_is_refused_by_its_feature() {
    let answer = shipped().expect(2, &format!("run pipeline.toml {SMOKE} --backend sft=cuda"));
    assert!(answer.stderr.contains("--features cuda"), "{}", answer.stderr);
}

#[test]
fn a_model_of_llama_cpp_is_imported_trained_and_evaluated() {
    let space = TestSpace::new();
    let root = env!("CARGO_MANIFEST_DIR");
    space.write("pipeline.toml", &fs::read_to_string(format!("{root}/pipelines/smollm2-medical.toml")).unwrap());
    let words = format!("pipeline.toml {SMOKE} --set params.gguf={root}/tests/fixtures/gguf/tiny-llama.gguf");
    let told = space.expect(0, &format!("run {words}")).stdout;
    assert!(told.contains("12 ran"), "{told}");
    assert!(space.expect(0, &format!("run {words}")).stdout.contains("12 up to date"));
    let chat = "chat pipeline.toml sft --profile smoke --max-new-tokens 3 --json --set";
    let mut child = space.command(&format!("{chat} params.gguf={root}/tests/fixtures/gguf/tiny-llama.gguf"));
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "a stage that makes an adapter brings its model");
}

#[test]
fn full_size_profiles_are_checked_and_planned_and_say_what_they_cannot_reach() {
    let space = shipped();
    for (profile, model) in [("qwen3-0.6b", "Qwen/Qwen3-0.6B"), ("qwen3-32b", "Qwen/Qwen3-32B")] {
        space.expect(0, &format!("check pipeline.toml --profile {profile}"));
        space.expect(0, &format!("plan pipeline.toml --profile {profile}"));
        let mut command = space.command(&format!("run pipeline.toml --profile {profile}"));
        let told = answer(&command.env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap());
        assert_eq!(told.code, 2, "{}", told.stderr);
        assert!(told.stderr.contains(model) && told.stderr.contains("cannot reach the hub"), "{}", told.stderr);
    }
}

#[test]
#[cfg(feature = "wgpu")]
fn another_backend_for_eval_runs_eval_and_what_follows() {
    let has_vulkan = fs::read_dir("/usr/share/vulkan/icd.d").is_ok_and(|mut entries| entries.next().is_some());
    let required = std::env::var("GAZAL_REQUIRE").is_ok_and(|names| names.contains("vulkan"));
    if !has_vulkan && !required {
        eprintln!("passed over: there is no Vulkan driver here");
        return;
    }
    let space = shipped();
    let small = "--set stages.eval.params.tasks=[\"mini_medmcqa\"] --set stages.eval.params.limit=1 \
                 --set stages.eval.params.max_new_tokens=2";
    states(&space, small);
    let done = states(&space, &format!("{small} --backend eval=wgpu"));
    let expected = ["eval@model=base", "eval@model=sft", "eval@model=grpo", "eval@model=merged", "report"];
    assert!(ran(&done).iter().all(|name| expected.contains(name)), "{done:?}");
    assert!(done.iter().all(|(_, state)| state == "ran" || state == "hit"), "{done:?}");
    assert_eq!(ran(&done).iter().filter(|name| name.starts_with("eval")).count(), 4, "{done:?}");
}
