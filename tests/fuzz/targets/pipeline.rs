//! A pipeline file with the command line in comments.
#![no_main]

use gazal_fuzz::KINDS;
use gazal_spec::{Overrides, Pipeline, Severity, Source, Stage, Wanted};
use gazal_stage_api::{Backend, DeviceRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let overrides = overrides(text);
    match load(text, &overrides) {
        Ok(pipeline) => {
            let commented = load(&format!("{text}\n# a comment"), &overrides).expect("a comment is no mistake");
            assert_eq!(keys(&pipeline), keys(&commented), "a comment changes no key");
            let _ = pipeline.select(&Wanted { words: said(text, "#stage "), ..Wanted::default() });
        }
        Err(found) => {
            assert!(found.iter().any(|one| one.severity == Severity::Error), "a refusal says why");
            let source = Source { name: "p.toml", text };
            for one in found {
                assert!(one.span.as_ref().is_none_or(|span| text.get(span.clone()).is_some()), "{one:?}");
                let _ = one.render_plain(&source);
            }
        }
    }
});

fn load(text: &str, overrides: &Overrides) -> Result<Pipeline, Vec<gazal_spec::Diagnostic>> {
    gazal_spec::load(&Source { name: "p.toml", text }, overrides, &KINDS)
}

fn keys(pipeline: &Pipeline) -> Vec<Option<String>> {
    let device = DeviceRequest { backend: Backend::Cpu, precision: Default::default() };
    let key = |stage: &Stage| Some(gazal_engine::bare_manifest(stage, device).ok()?.key().hex());
    pipeline.stages.iter().map(|stage| key(stage)).collect()
}

/// What lines with this beginning say.
fn said(text: &str, beginning: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(beginning)).map(str::to_string).collect()
}

fn overrides(text: &str) -> Overrides {
    let pair = |line: &String| line.split_once('=').map(|(key, value)| (key.to_string(), value.to_string()));
    let backend = |line: String| match line.split_once('=') {
        Some((stage, backend)) => (Some(stage.to_string()), backend.to_string()),
        None => (None, line),
    };
    Overrides {
        profiles: said(text, "#profile "),
        set: said(text, "#set ").iter().filter_map(pair).collect(),
        backend: said(text, "#backend ").into_iter().map(backend).collect(),
    }
}
