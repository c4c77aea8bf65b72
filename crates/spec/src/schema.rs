//! A JSON Schema of the pipeline file, made from the kinds' own parameter types, for editors.

use gazal_stage_api::{DynKind, Kinds, PortType};
use serde_json::{Map, Value, json};

/// The schema of a whole pipeline file.
pub fn schema(kinds: &Kinds) -> Value {
    let stage = stage_schema(kinds, true);
    let change = stage_schema(kinds, false);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gazal-pipe pipeline",
        "type": "object",
        "required": ["pipeline", "stages"],
        "additionalProperties": false,
        "properties": {
            "pipeline": { "allOf": [{ "$ref": "#/$defs/pipeline" }], "required": ["name"] },
            "params": { "type": "object", "description": "the file's own variables: `${params.x}`" },
            "pools": { "$ref": "#/$defs/pools" },
            "stages": stages(&stage),
            "profiles": {
                "type": "object",
                "description": "named changes to the file, chosen with `--profile`",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "pipeline": { "$ref": "#/$defs/pipeline" },
                        "params": { "type": "object" },
                        "pools": { "$ref": "#/$defs/pools" },
                        "stages": stages(&change),
                    },
                },
            },
        },
        "$defs": definitions(kinds),
    })
}

fn stages(stage: &Value) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]*$" },
        "additionalProperties": stage,
    })
}

fn definitions(kinds: &Kinds) -> Map<String, Value> {
    let fixed = json!({
        "reference": { "type": "string", "pattern": "\\$\\{(params|matrix)\\." },
        "seed": or_reference(&json!({ "type": "integer", "minimum": 0 })),
        "backend": or_reference(&json!({ "type": "string", "pattern": "^(cpu|auto|wgpu(:[0-9]+)?|cuda(:[0-9]+)?)$" })),
        "precision": or_reference(&json!({ "enum": ["f32", "bf16"] })),
        "executor": or_reference(&json!({ "enum": ["local", "slurm"] })),
        "slurm": slurm(),
        "pipeline": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "name": { "type": "string", "minLength": 1 },
                "seed": { "$ref": "#/$defs/seed" },
                "backend": { "$ref": "#/$defs/backend" },
                "precision": { "$ref": "#/$defs/precision" },
                "executor": { "$ref": "#/$defs/executor" },
                "slurm": { "$ref": "#/$defs/slurm" },
                "remote": {
                    "type": "string",
                    "minLength": 1,
                    "description": "results that others made: a folder, s3://BUCKET/PREFIX, gs://, az://, http(s)://",
                },
            },
        },
        "pools": {
            "type": "object",
            "description": "how many stages of each pool may run at once",
            "additionalProperties": { "type": "integer", "minimum": 1 },
        },
        "time": { "type": "string", "description": "such as \"90s\", \"15min\", \"1h30m\" or \"2d\"" },
        "conditions": {
            "description": "comparisons of metrics: \"eval.mini_medqa.acc >= 0.5\"",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        },
        "retries": {
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "max": { "type": "integer", "minimum": 0 },
                        "backoff": { "allOf": [{ "$ref": "#/$defs/time" }], "description": "doubled before each further try" },
                    },
                },
                { "$ref": "#/$defs/reference" },
            ],
        },
        "needs": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "gpus": or_reference(&json!({ "type": "integer", "minimum": 0 })),
                "cpus": or_reference(&json!({ "type": "integer", "minimum": 1 })),
                "memory": { "type": ["string", "integer"], "description": "bytes, or with a unit: \"80GiB\"" },
            },
        },
    });
    let Value::Object(mut all) = fixed else { return Map::new() };
    all.extend(kinds.iter().map(|kind| (definition(kind), params_schema(kind))));
    all
}

/// What a job asks of Slurm.
fn slurm() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "partition": text,
            "account": text,
            "qos": text,
            "constraint": text,
            "at_once": or_reference(&json!({ "type": "integer", "minimum": 1 })),
            "extra": {
                "type": "array",
                "description": "further options of `sbatch`, each in one piece: \"--exclusive\"",
                "items": { "type": "string", "pattern": "^-" },
            },
        },
    })
}

fn definition(kind: &dyn DynKind) -> String {
    format!("params-{}", kind.name())
}

fn or_reference(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/reference" }] })
}

fn stage_schema(kinds: &Kinds, whole: bool) -> Value {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let types = PortType::ALL.map(PortType::name);
    let wires = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let by_kind: Vec<Value> = kinds.iter().map(|kind| params_by_kind(kind, whole)).collect();
    let mut stage = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "kind": or_reference(&json!({ "enum": names })),
            "inputs": { "type": "object", "additionalProperties": wires },
            "outputs": { "type": "object", "additionalProperties": { "enum": types } },
            "params": or_reference(&json!({ "type": "object" })),
            "matrix": { "type": "object", "additionalProperties": or_reference(&json!({ "type": "array", "minItems": 1 })) },
            "seed": { "$ref": "#/$defs/seed" },
            "backend": { "$ref": "#/$defs/backend" },
            "precision": { "$ref": "#/$defs/precision" },
            "needs": { "$ref": "#/$defs/needs" },
            "executor": { "$ref": "#/$defs/executor" },
            "slurm": { "$ref": "#/$defs/slurm" },
            "enabled": or_reference(&json!({ "type": "boolean" })),
            "when": { "allOf": [{ "$ref": "#/$defs/conditions" }], "description": "the stage is left out where one does not hold" },
            "gate": { "allOf": [{ "$ref": "#/$defs/conditions" }], "description": "the stage fails where one does not hold" },
            "retries": { "$ref": "#/$defs/retries" },
            "timeout": { "$ref": "#/$defs/time" },
            "pool": { "type": "string" },
            "allow_failure": or_reference(&json!({ "type": "boolean" })),
            "service": { "type": "string", "description": "a stage that serves this one while it runs" },
        },
        "allOf": by_kind,
    });
    if whole {
        stage["required"] = json!(["kind"]);
    }
    stage
}

/// The parameters of one kind, where `kind` says so; a profile need not repeat the required ones.
fn params_by_kind(kind: &dyn DynKind, whole: bool) -> Value {
    let required = kind.schema().get("required").cloned().filter(|_| whole);
    let mut then = json!({ "properties": { "params": { "$ref": format!("#/$defs/{}", definition(kind)) } } });
    if let Some(required) = required {
        then["required"] = json!(["params"]);
        then["properties"]["params"]["required"] = required;
    }
    json!({
        "if": { "required": ["kind"], "properties": { "kind": { "const": kind.name() } } },
        "then": then,
    })
}

/// The kind's own schema, made to live among others: its definitions keep their names below its own, what it
/// requires moves to where it is used, and every parameter may be a reference instead.
fn params_schema(kind: &dyn DynKind) -> Value {
    let mut schema = kind.schema();
    relocate(&mut schema, &format!("#/$defs/{}/$defs/", definition(kind)));
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("required");
        object.insert("description".into(), kind.doc().into());
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|all| all.values_mut()) {
        *property = referable(property.take());
    }
    schema
}

/// As [`or_reference`], with the description and the default kept outside, where editors look for them.
fn referable(mut schema: Value) -> Value {
    let kept = ["description", "default"].map(|name| (name, schema.as_object_mut().and_then(|all| all.remove(name))));
    let mut outer = or_reference(&schema);
    for (name, value) in kept {
        if let Some(value) = value {
            outer[name] = value;
        }
    }
    outer
}

fn relocate(schema: &mut Value, to: &str) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => *target = target.replacen("#/$defs/", to, 1),
                    other => relocate(other, to),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| relocate(item, to)),
        _ => {}
    }
}
