//! Keys: frozen ones, and what they depend on.

use std::collections::BTreeMap;

use gazal_engine::{Manifest, bare_manifest};
use gazal_spec::{BackendChoice, Overrides, Pipeline, Source, Stage};
use gazal_stage_api::{Backend, DeviceRequest, DynKind, Kinds};
use gazal_store::Digest;
use serde_json::{Map, Value, json};

fn kinds() -> Kinds {
    Kinds::new(gazal_engine::kinds::builtin().into_iter().chain(gazal_stages::kinds().iter()).collect())
}

fn load(text: &str, overrides: &Overrides) -> Pipeline {
    let source = Source { name: "p.toml", text };
    gazal_spec::load(&source, overrides, &kinds()).unwrap_or_else(|found| panic!("{}", found[0].render_plain(&source)))
}

/// A stage's manifest, as if each of its inputs were a digest of the producer's name.
fn manifest(pipeline: &Pipeline, stage: &Stage) -> Manifest {
    let backend = match stage.backend {
        BackendChoice::Given(backend) => backend,
        BackendChoice::Auto => Backend::Cpu,
    };
    let mut manifest = bare_manifest(stage, DeviceRequest { backend, precision: stage.precision }).unwrap();
    for input in &stage.inputs {
        let name =
            |from: &gazal_spec::OutputRef| Digest::of(format!("{}.{}", pipeline.stages[from.stage].name, from.output));
        manifest.inputs.insert(input.port.clone(), input.from.iter().map(name).collect());
    }
    manifest
}

fn keys(text: &str, overrides: &Overrides) -> BTreeMap<String, Digest> {
    let pipeline = load(text, overrides);
    pipeline.stages.iter().map(|stage| (stage.name.clone(), manifest(&pipeline, stage).key())).collect()
}

fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/gazal-r1.toml")).unwrap()
}

fn profile(name: &str) -> Overrides {
    Overrides { profiles: if name.is_empty() { Vec::new() } else { vec![name.into()] }, ..Overrides::default() }
}

/// A key may change with a kind's revision, its numerics tag, its parameters or the shipped pipeline, and with nothing
/// else: then write the file anew (`GAZAL_FREEZE=1`) in the commit that says why.
#[test]
fn golden_keys_stay_as_they_are() {
    let text = shipped();
    let mut frozen = String::new();
    for name in ["", "smoke", "qwen3-32b", "three-seeds", "real-benchmarks"] {
        for (stage, key) in keys(&text, &profile(name)) {
            frozen += &format!("{name}/{stage} {key}\n");
        }
    }
    assert!(frozen.lines().count() >= 50);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys.txt");
    if std::env::var_os("GAZAL_FREEZE").is_some() {
        std::fs::write(path, &frozen).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let changed: Vec<&str> =
        frozen.lines().zip(golden.lines()).filter(|(now, was)| now != was).map(|(now, _)| now).collect();
    assert!(changed.is_empty() && frozen.lines().count() == golden.lines().count(), "{changed:#?}");
}

#[test]
fn the_way_a_file_is_written_is_in_no_key() {
    let text = shipped();
    let spaced: String = text.lines().map(|line| format!("{line}   # noted\n\n")).collect();
    let spaced = spaced.replace(" = ", "  =  ");
    assert_eq!(keys(&text, &profile("")), keys(&spaced, &profile("")));
    let ordered = "[pipeline]\nname = 'p'\n[stages.s]\nkind = 'synth'\ninputs = { knowledge = 'k' }\nseed = 1\nparams = { num_pages = 5, num_first_exercises = 1, num_exercises = 2, num_examples = 7, num_validation = 3, num_prompts = 4 }\n[stages.k]\nkind = 'knowledge'\n";
    let other = "[stages.k]\nkind = 'knowledge'\n[stages.s]\nseed = 1\nparams = { num_prompts = 4, num_examples = 7, num_validation = 3, num_pages = 5, num_exercises = 2, num_first_exercises = 1 }\nkind = 'synth'\ninputs = { knowledge = 'k' }\n[pipeline]\nname = 'other'\n";
    assert_eq!(keys(ordered, &profile("")), keys(other, &profile("")));
    let policies = ordered.replace(
        "seed = 1",
        "seed = 1\nretries = 3\ntimeout = '1h'\nallow_failure = true\nneeds = { cpus = 1, memory = '1GiB' }",
    );
    assert_eq!(keys(ordered, &profile("")), keys(&policies, &profile("")));
}

/// Texts that parameters may take.
const NAMES: [&str; 12] = [
    "another",
    "b/c",
    "adamw",
    "exadam",
    "linear",
    "constant",
    "induction",
    "sequential",
    "bnpo",
    "sequence",
    "group",
    "none",
];

/// Values that differ from `value`, of the types that a schema allows.
fn others(value: &Value, schema: &Value) -> Vec<Value> {
    let named = schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
    let constants = ["oneOf", "anyOf"].iter().filter_map(|name| schema.get(*name)?.as_array()).flatten();
    let constants = constants.filter_map(|one| one.get("const").cloned());
    let guesses = match value {
        Value::Bool(flag) => vec![json!(!flag)],
        Value::Number(number) if number.is_f64() => vec![json!(number.as_f64().unwrap() * 0.5 + 0.125), json!(0.5)],
        Value::Number(number) => {
            vec![
                json!(number.as_u64().unwrap_or(0) + 1),
                json!(number.as_u64().unwrap_or(0) * 2),
                json!(16),
                json!(8),
                json!(4),
                json!(1),
            ]
        }
        Value::String(_) => NAMES.map(Value::from).to_vec(),
        Value::Null => {
            let filter = json!({"max_num_gen_batches": 3});
            let parts = json!({"parts": [{"name": "train", "share": 1.0}]});
            vec![json!(3), json!(16), json!(0.5), json!("another"), json!("auto"), json!(true), filter, parts]
        }
        Value::Array(items) => {
            let fewer = items.split_last().map(|(_, fewer)| json!(fewer));
            let named = ["accuracy", "q_proj", "medqa", "regenerated", "another", "a/c"].map(|name| json!([name]));
            fewer
                .into_iter()
                .chain(named)
                .chain([
                    json!([0.25]),
                    json!([3]),
                    json!(["base", "another"]),
                    json!([{"step": "exact_duplicates"}]),
                    json!([{"step": "horizontal_flip"}]),
                    json!([{"title": "t", "baseline": "a", "labels": ["b"]}]),
                    json!(["b", "a"]),
                ])
                .collect()
        }
        Value::Object(_) => {
            vec![
                json!({"steps": 3}),
                json!({"kl": {"action": "stop"}}),
                json!({"timeout": 3.0}),
                json!({"rows": 3}),
                soup(0.25),
            ]
        }
    };
    named.into_iter().chain(constants).chain(guesses).filter(|other| other != value).collect()
}

/// A definition behind a `$ref`.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let inner = schema.get("allOf").and_then(|all| all.get(0)).unwrap_or(schema);
    let target = inner.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
    target.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

/// The smallest table of parameters that a kind takes.
fn required(kind: &dyn DynKind) -> Map<String, Value> {
    let examples = json!({"vocab_size": 512, "hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "command": ["true"], "path": "x", "gguf_file": "x", "model_name_or_path": "a/b", "title": "t", "models": ["a"], "label": "l", "dataset_name": ["a/b"], "groups": [2], "samples": [50],
        "config": soup(0.5)});
    let schema = kind.schema();
    let names = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut table: Map<String, Value> = names
        .iter()
        .filter_map(Value::as_str)
        .map(|name| (name.to_string(), examples.get(name).cloned().unwrap_or_else(|| json!(16))))
        .collect();
    // What only `check` asks for.
    let asked = kind
        .check(&table, &[])
        .into_iter()
        .filter_map(|problem| Some((problem.field.clone(), examples.get(&problem.field)?.clone())));
    table.extend(asked);
    table
}

/// A configuration of a merge.
fn soup(weight: f64) -> Value {
    json!({"merge_method": "linear", "models": [{"model": "a"}, {"model": "b"}], "parameters": {"weight": weight}})
}

#[test]
fn every_parameter_is_in_the_key_but_those_that_change_records_only() {
    let (mut changed, mut kept) = (0, Vec::new());
    for kind in kinds().iter() {
        let base = required(kind);
        let canonical =
            |table: &Map<String, Value>| kind.canonical(table).ok().filter(|_| kind.check(table, &[]).is_empty());
        let Some(standard) = canonical(&base) else { panic!("{}: {:?}", kind.name(), kind.check(&base, &[])) };
        let schema = kind.schema();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let value = base.get(name).or_else(|| property.get("default")).cloned().unwrap_or_default();
            let changes = others(&value, resolved(property, &schema)).into_iter().filter_map(|other| {
                let mut table = base.clone();
                table.insert(name.clone(), other);
                canonical(&table)
            });
            let changes: Vec<_> = changes.collect();
            let unkeyed = kind.traits().unkeyed.contains(&name.as_str());
            assert!(changes.iter().all(|other| (*other == standard) == unkeyed), "{}.{name}", kind.name());
            match changes.is_empty() {
                true => kept.push(format!("{}.{name}", kind.name())),
                false => changed += 1,
            }
        }
    }
    assert!(changed > 90, "{changed} parameters were changed, for these no other value was found: {kept:?}");
    assert!(kept.len() < 16, "{changed} parameters were changed, for these no other value was found: {kept:?}");
}

#[test]
fn what_a_stage_is_besides_its_parameters_is_in_the_key() {
    let text = shipped();
    let key = |stage: &str, changes: &[(&str, &str)]| {
        let set =
            changes.iter().map(|(name, value)| (format!("stages.{stage}.{name}"), (*value).to_string())).collect();
        keys(&text, &Overrides { set, ..Overrides::default() })[stage]
    };
    let base = key("base", &[]);
    for change in [("seed", "9"), ("backend", "wgpu"), ("precision", "bf16"), ("inputs.dataset", "synth.dataset")] {
        assert_ne!(key("base", &[change]), base, "{change:?}");
    }
    assert_eq!(key("base", &[("backend", "wgpu:1")]), key("base", &[("backend", "wgpu")]));
    let turned = key("tokenizer", &[("inputs.dataset", "['synth.dataset', 'synth.corpus']")]);
    assert_ne!(turned, key("tokenizer", &[]), "the order of a list is meant");
}
