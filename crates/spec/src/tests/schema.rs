//! The schema for editors.

use serde_json::{Value, json};

use super::toy_kinds;

#[test]
fn every_kind_has_its_parameters_in_the_schema() {
    let schema = crate::schema(&toy_kinds());
    let kinds = &schema["properties"]["stages"]["additionalProperties"]["properties"]["kind"]["anyOf"][0]["enum"];
    assert_eq!(kinds, &json!(["synth", "base", "sft", "eval", "table", "exec"]));
    let sft = &schema["$defs"]["params-sft"];
    assert_eq!(sft["properties"]["lora_r"]["description"], "The rank of the adapter.");
    assert_eq!(sft["additionalProperties"], json!(false));
    let branches = schema["properties"]["stages"]["additionalProperties"]["allOf"].as_array().unwrap();
    assert_eq!(branches[2]["then"]["properties"]["params"]["required"], json!(["lora_r"]));
}

#[test]
fn every_reference_in_the_schema_leads_somewhere() {
    let schema = crate::schema(&toy_kinds());
    let mut targets = Vec::new();
    collect(&schema, &mut targets);
    assert!(targets.iter().any(|target| target == "#/$defs/params-sft/$defs/Schedule"), "{targets:?}");
    for target in targets {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(schema.pointer(pointer).is_some(), "{target}");
    }
}

fn collect(schema: &Value, targets: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(target) if name == "$ref" => targets.push(target.clone()),
            other => collect(other, targets),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, targets)),
        _ => {}
    }
}
