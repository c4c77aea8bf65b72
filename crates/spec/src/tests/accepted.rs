//! What right files become.

use serde_json::json;

use super::{load, loaded, names, overrides, render, stage, wiring};
use crate::{BackendChoice, Comparison, Executor, Needs, Policy, SlurmOptions, Wanted};
use gazal_stage_api::{Backend, Precision};

const HEAD: &str = "[pipeline]\nname = \"toy\"\n";

fn file(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

const WHOLE: &str = r#"
[pipeline]
name = "toy"
seed = 3407
backend = "auto"

[stages.table]
kind = "table"
inputs = { metrics = "eval" }

[stages.eval]
kind = "eval"
matrix = { model = [{ name = "base", adapter = "" }, { name = "sft", adapter = "sft" }] }
inputs = { model = "base", adapter = "${matrix.model.adapter}" }

[stages.sft]
kind = "sft"
inputs = { dataset = ["synth", "more.rows"], model = "base.model" }
seed = 18446744073709551615
backend = "cuda:1"
precision = "bf16"
needs = { gpus = 1, memory = "80GiB", cpus = 4 }
[stages.sft.params]
lora_r = 8
lr = 1e-4

[stages.base]
kind = "base"
[stages.synth]
kind = "synth"
[stages.more]
kind = "synth"
"#;

#[test]
fn stages_come_after_what_they_need_and_otherwise_as_in_the_file() {
    let pipeline = load(WHOLE);
    assert_eq!(names(&pipeline), ["base", "eval@model=base", "synth", "more", "sft", "eval@model=sft", "table"]);
    assert!(pipeline.warnings.is_empty());
}

#[test]
fn inputs_are_in_port_order_and_an_empty_text_connects_nothing() {
    let pipeline = load(WHOLE);
    assert_eq!(wiring(&pipeline, "sft"), ["model: base.model", "dataset: synth.rows more.rows"]);
    assert_eq!(wiring(&pipeline, "eval@model=base"), ["model: base.model"]);
    assert_eq!(wiring(&pipeline, "eval@model=sft"), ["model: base.model", "adapter: sft.adapter"]);
    assert_eq!(wiring(&pipeline, "table"), ["metrics: eval@model=base.metrics eval@model=sft.metrics"]);
}

#[test]
fn empty_texts_in_lists_are_left_out_where_nothing_is_needed() {
    let text =
        "[stages.a]\nkind = \"synth\"\n[stages.b]\nkind = \"base\"\ninputs = { dataset = [\"\", \"a\", \"\"] }\n";
    assert_eq!(wiring(&load(&file(text)), "b"), ["dataset: a.rows"]);
}

#[test]
fn settings_are_the_stages_own_or_the_pipelines() {
    let pipeline = load(WHOLE);
    let sft = stage(&pipeline, "sft");
    assert_eq!((sft.seed, sft.precision), (u64::MAX, Precision::Bf16));
    assert_eq!(sft.backend, BackendChoice::Given(Backend::Cuda(Some(1))));
    assert_eq!(sft.needs, Needs { gpus: 1, cpus: 4, memory: Some(80 << 30) });
    let base = stage(&pipeline, "base");
    assert_eq!((base.seed, base.backend, base.precision), (3407, BackendChoice::Auto, Precision::F32));
    let bare = load(&file("[stages.a]\nkind = \"base\"\n"));
    assert_eq!(bare.stages[0].backend, BackendChoice::Given(Backend::Cpu));
    assert_eq!((bare.seed, bare.stages[0].needs), (0, Needs::default()));
}

#[test]
fn aliases_get_their_canonical_names() {
    let pipeline = load(WHOLE);
    let sft = stage(&pipeline, "sft");
    assert_eq!(serde_json::to_value(sft.params.as_ref()).unwrap(), json!({ "lora_r": 8, "learning_rate": 1e-4 }));
    assert_eq!(sft.places.get("params.learning_rate").map(|place| place.line), Some(25));
}

#[test]
fn places_lead_to_the_file_and_not_to_the_command_line() {
    let pipeline = loaded(WHOLE, &overrides("--set stages.sft.params.steps=3 --backend base=cpu"));
    let sft = stage(&pipeline, "sft");
    let line = |name: &str| sft.places.get(name).map(|place| place.line);
    assert_eq!([line(""), line("kind"), line("seed")], [Some(16), Some(17), Some(19)]);
    assert_eq!([line("inputs.model"), line("needs.cpus")], [Some(18), Some(22)]);
    assert_eq!(line("params.steps"), None);
    let base = stage(&pipeline, "base");
    assert_eq!(base.places.get("seed").unwrap().to_string(), "p.toml:4:8");
    assert_eq!(base.places.get("backend"), None);
}

#[test]
fn references_take_the_type_of_the_value_or_become_text() {
    let text = r#"
[params]
rank = 8
folder = "out"
path = "${params.folder}/x"
sft = { steps = 3, schedule = { warmup = 0.1 } }
[stages.a]
kind = "exec"
outputs = { out = "files" }
params = { command = ["${params.path}", "r${params.rank}", "$${params.rank}", "${HOME}", "$x"] }
[stages.b]
kind = "base"
[stages.c]
kind = "synth"
[stages.d]
kind = "sft"
inputs = { model = "b", dataset = "c" }
params = { lora_r = "${params.rank}", steps = "${params.sft.steps}", schedule = "${params.sft.schedule}" }
"#;
    let pipeline = load(&file(text));
    let expected = json!(["out/x", "r8", "${params.rank}", "${HOME}", "$x"]);
    assert_eq!(stage(&pipeline, "a").params["command"], expected);
    let params = serde_json::to_value(stage(&pipeline, "d").params.as_ref()).unwrap();
    assert_eq!(params, json!({ "lora_r": 8, "steps": 3, "schedule": { "warmup": 0.1 } }));
}

const MATRIX: &str = r#"
[params]
seeds = [0, 1, 2]
[stages.cell]
kind = "synth"
matrix = { group = [10, 20], seed = "${params.seeds}" }
seed = "${matrix.seed}"
params = { rows = "${matrix.group}" }
[stages.first]
kind = "base"
inputs = { dataset = "cell@group=10" }
[stages.one]
kind = "base"
inputs = { dataset = "cell@seed=2,group=20.rows" }
"#;

#[test]
fn a_matrix_is_the_product_in_the_order_of_the_file() {
    let pipeline = load(&file(MATRIX));
    let points = ["10,seed=0", "10,seed=1", "10,seed=2", "20,seed=0", "20,seed=1", "20,seed=2"];
    assert_eq!(names(&pipeline)[..6], points.map(|point| format!("cell@group={point}")));
    let point = stage(&pipeline, "cell@group=20,seed=1");
    assert_eq!((point.seed, &point.params["rows"], point.base.as_str()), (1, &json!(20), "cell"));
    assert_eq!(point.matrix["group"], json!(20));
}

#[test]
fn some_points_of_a_matrix_can_be_selected() {
    let pipeline = load(&file(MATRIX));
    let three = "dataset: cell@group=10,seed=0.rows cell@group=10,seed=1.rows cell@group=10,seed=2.rows";
    assert_eq!(wiring(&pipeline, "first"), [three]);
    assert_eq!(wiring(&pipeline, "one"), ["dataset: cell@group=20,seed=2.rows"]);
}

#[test]
fn disabled_stages_are_gone_and_remembered() {
    let text = "[params]\non = false\n[stages.a]\nkind = \"synth\"\n[stages.b]\nkind = \"synth\"\nenabled = \"${params.on}\"\n";
    let pipeline = load(&file(text));
    assert_eq!(names(&pipeline), ["a"]);
    assert_eq!(pipeline.disabled, ["b"]);
}

#[test]
fn declared_ports_are_built_from_the_file() {
    let text = r#"
[stages.a]
kind = "synth"
[stages.b]
kind = "exec"
inputs = { text = "a" }
outputs = { out = "dataset", extra = "files" }
params = { command = ["true"] }
[stages.c]
kind = "base"
inputs = { dataset = "b" }
"#;
    let pipeline = load(&file(text));
    assert_eq!(wiring(&pipeline, "b"), ["text: a.rows"]);
    assert_eq!(wiring(&pipeline, "c"), ["dataset: b.out"]);
}

#[test]
fn unused_parameters_and_idle_settings_are_warnings() {
    let text = r#"
[params]
lost = 1
later = 2
[stages.a]
kind = "synth"
backend = "cuda"
[profiles.big.stages.a.params]
rows = "${params.later}"
"#;
    let text = file(text);
    let pipeline = load(&text);
    insta::assert_snapshot!(render(&text, &pipeline.warnings), @r#"
    p.toml:5:1: warning: the parameter `lost` is never used
    5 | lost = 1
      | ^^^^
      help: refer to it as `${params.lost}`, or take it out

    p.toml:9:11: warning: `backend` has no effect: the kind `synth` does not use it
    9 | backend = "cuda"
      |           ^^^^^^
    "#);
}

const PROFILES: &str = r#"
[pipeline]
name = "toy"
[params]
rank = 8
[stages.base]
kind = "base"
inputs = { dataset = "data" }
params = { both = false }
[stages.data]
kind = "synth"
params = { rows = 5, split = [0.5, 0.5] }
[stages.sft]
kind = "sft"
inputs = { model = "base.model", dataset = ["data"] }
params = { lora_r = "${params.rank}", schedule = { warmup = 0.1 } }

[profiles.big]
params = { rank = 256 }
stages.data.params = { split = [1.0] }
stages.sft.params.schedule.rates = [0.5]
[profiles.hub.stages.base]
kind = "exec"
outputs = { model = "model" }
params = { command = ["fetch"] }
[profiles.huge.params]
rank = 512
"#;

#[test]
fn profiles_merge_tables_and_replace_arrays() {
    let pipeline = loaded(PROFILES, &overrides("--profile big"));
    assert_eq!(stage(&pipeline, "data").params["split"], json!([1.0]));
    assert_eq!(stage(&pipeline, "data").params["rows"], json!(5));
    let sft = serde_json::to_value(stage(&pipeline, "sft").params.as_ref()).unwrap();
    assert_eq!(sft, json!({ "lora_r": 256, "schedule": { "warmup": 0.1, "rates": [0.5] } }));
}

#[test]
fn profiles_apply_in_order() {
    let rank = |arguments: &str| stage(&loaded(PROFILES, &overrides(arguments)), "sft").params["lora_r"].clone();
    assert_eq!(rank("--profile big --profile huge"), json!(512));
    assert_eq!(rank("--profile huge --profile big"), json!(256));
    assert_eq!(rank("--profile huge --set params.rank=1"), json!(1));
}

#[test]
fn another_kind_drops_what_the_old_one_understood() {
    let pipeline = loaded(PROFILES, &overrides("--profile hub"));
    let base = stage(&pipeline, "base");
    assert_eq!((base.kind.name(), base.inputs.len()), ("exec", 0));
    assert_eq!(serde_json::to_value(base.params.as_ref()).unwrap(), json!({ "command": ["fetch"] }));
    assert_eq!(base.places.get("kind").map(|place| place.line), Some(23));
}

#[test]
fn policies_are_read() {
    let pipeline = load(
        r#"
[pipeline]
name = "toy"
[pools]
licence = 2
[stages.a]
kind = "synth"
retries = { max = 3, backoff = "10s" }
timeout = "1h30m"
pool = "licence"
allow_failure = true
[stages.b]
kind = "synth"
retries = 2
"#,
    );
    let policy = &stage(&pipeline, "a").policy;
    assert_eq!((policy.retries, policy.backoff.as_secs(), policy.timeout.unwrap().as_secs()), (3, 10, 5400));
    assert_eq!((policy.pool.as_deref(), policy.allow_failure), (Some("licence"), true));
    let policy = &stage(&pipeline, "b").policy;
    assert_eq!(**policy, Policy { retries: 2, ..Policy::default() });
    assert_eq!(pipeline.pools["licence"], 2);
}

const JUDGED: &str = r#"
[pipeline]
name = "toy"
[stages.last]
kind = "synth"
when = "eval@size=2.medqa.acc > eval@size=1.medqa.acc + 0.02"
gate = ["eval.medqa.acc >= 0.5", "eval@size=1.loss<3"]
service = "server"
[stages.server]
kind = "exec"
inputs = { model = "base.model" }
params = { command = ["serve"] }
[stages.eval]
kind = "eval"
matrix = { size = [1, 2] }
inputs = { model = "base.model" }
gate = "eval.medqa.acc >= 0"
[stages.base]
kind = "base"
inputs = { dataset = "synth" }
[stages.synth]
kind = "synth"
"#;

#[test]
fn conditions_and_services_are_needs() {
    let pipeline = load(JUDGED);
    let names = names(&pipeline);
    assert_eq!(names, ["synth", "base", "server", "eval@size=1", "eval@size=2", "last"]);
    let last = stage(&pipeline, "last");
    let [when] = last.when.as_slice() else { panic!("{:?}", last.when) };
    assert_eq!((when.left.stages.as_slice(), when.left.output.as_str()), (&[4][..], "metrics"));
    assert_eq!(when.left.path, ["medqa", "acc"]);
    assert_eq!((when.op, when.right.plus), (Comparison::Greater, 0.02));
    assert_eq!(when.right.metric.as_ref().unwrap().stages, [3]);
    assert_eq!(last.gates.iter().map(|gate| gate.left.path.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(last.gates[0].left.stages, [3, 4]);
    assert_eq!(last.service, Some(2));
    assert!(stage(&pipeline, "server").is_service);
    let needs: std::collections::BTreeSet<usize> = pipeline.needs(5).collect();
    assert_eq!(needs, [2, 3, 4].into());
    assert!(pipeline.needs(3).all(|need| need == 1), "a gate on its own metrics is no need");
}

#[test]
fn a_service_is_no_target() {
    let pipeline = load(JUDGED);
    let all = pipeline.select(&Wanted::default()).unwrap();
    assert_eq!((all.targets.len(), all.all.len()), (5, 6));
    let refused = pipeline.select(&Wanted::words(&["server".into()])).unwrap_err();
    assert!(refused.message.contains("never runs alone"), "{refused}");
}

#[test]
fn the_executor_and_its_options_are_the_stages_own_or_the_pipelines() {
    let text = "[pipeline]\nname = 'toy'\nexecutor = 'slurm'\nslurm = { partition = 'gpu', account = 'lab', extra = ['--exclusive'] }\n\
                [stages.a]\nkind = 'synth'\n[stages.b]\nkind = 'synth'\nexecutor = 'local'\n\
                [stages.c]\nkind = 'synth'\nslurm = { partition = 'cpu', at_once = 8, extra = [] }\n";
    let pipeline = load(text);
    let options = |partition: &str, at_once, extra: &[&str]| {
        Executor::Slurm(SlurmOptions {
            partition: Some(partition.into()),
            account: Some("lab".into()),
            at_once,
            extra: extra.iter().map(ToString::to_string).collect(),
            ..SlurmOptions::default()
        })
    };
    let executors: Vec<&Executor> = pipeline.stages.iter().map(|stage| &*stage.executor).collect();
    assert_eq!(executors, [&options("gpu", None, &["--exclusive"]), &Executor::Local, &options("cpu", Some(8), &[])]);
    assert!(pipeline.warnings.is_empty());
}

#[test]
fn slurm_options_of_a_local_stage_are_a_warning() {
    let pipeline = load(&file("[stages.a]\nkind = 'synth'\nslurm = { qos = 'long' }\n"));
    assert_eq!(pipeline.warnings.len(), 1);
    assert!(pipeline.warnings[0].message.contains("`slurm` has no effect"), "{}", pipeline.warnings[0].message);
}
