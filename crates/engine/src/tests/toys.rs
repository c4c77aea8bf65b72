//! Kinds that compute nothing worth keeping.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use gazal_stage_api::{
    Context, Declared, Forecast, Foreseen, Foresight, InPort, JsonSchema, Kind, Kinds, OutPort, Pin, PortType,
    StageError, Traits,
};
use serde::{Deserialize, Serialize};

pub(super) fn kinds() -> Kinds {
    let mut kinds = crate::kinds::builtin();
    kinds.extend([
        &Make as &'static dyn gazal_stage_api::DynKind,
        &Join,
        &Compute,
        &Later,
        &Touch,
        &Measure,
        &Flaky,
        &Branch,
        &Remember,
        &Grow,
    ]);
    Kinds::new(kinds)
}

/// Writes one row.
struct Make;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MakeParams {
    #[serde(default = "word")]
    text: String,
    /// Changes the bytes, not the row.
    #[serde(default)]
    spaces: usize,
    #[serde(default)]
    logging_steps: u32,
    #[serde(default)]
    millis: u64,
}

fn word() -> String {
    "word".into()
}

impl Kind for Make {
    type Params = MakeParams;
    const NAME: &'static str = "make";
    const REVISION: u32 = 1;
    const DOC: &'static str = "one row";
    const TRAITS: Traits = Traits { unkeyed: &["logging_steps"], ..Traits::SEEDED };

    fn inputs(&self, _: &MakeParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &MakeParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn run(&self, params: MakeParams, context: &mut Context) -> Result<(), StageError> {
        sleep(Duration::from_millis(params.millis));
        let path = context.output("out")?.join("train.jsonl");
        let row = format!("{{\"text\":{}\"{}\"}}\n", " ".repeat(params.spaces), params.text);
        fs::write(&path, row).map_err(StageError::io(&path))
    }
}

/// Joins its inputs; fails, panics or waits to be cancelled where it is told to.
struct Join;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JoinParams {
    #[serde(default)]
    mode: String,
    /// One more row.
    #[serde(default)]
    add: String,
}

impl Kind for Join {
    type Params = JoinParams;
    const NAME: &'static str = "join";
    const REVISION: u32 = 1;
    const DOC: &'static str = "its inputs together";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &JoinParams, _: &Declared) -> Vec<InPort> {
        vec![InPort::many("parts", PortType::Dataset, "")]
    }

    fn outputs(&self, _: &JoinParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn run(&self, params: JoinParams, context: &mut Context) -> Result<(), StageError> {
        match params.mode.as_str() {
            "fail" => return Err(StageError::failed("as it was told")),
            "panic" => panic!("as it was told"),
            "wait" => wait(context)?,
            _ => {}
        }
        let mut text = String::new();
        for folder in context.inputs("parts") {
            let path = folder.join("train.jsonl");
            text.push_str(&fs::read_to_string(&path).map_err(StageError::io(&path))?);
        }
        if !params.add.is_empty() {
            text.push_str(&format!("\"{}\"\n", params.add));
        }
        let path = context.output("out")?.join("train.jsonl");
        fs::write(&path, text).map_err(StageError::io(&path))
    }
}

/// Waits until it is cancelled and leaves a checkpoint; with a checkpoint, waits for nothing.
fn wait(context: &mut Context) -> Result<(), StageError> {
    let checkpoint = context.wip().join("checkpoint");
    if checkpoint.exists() {
        return Ok(());
    }
    context.progress(1, 2, "steps", &[("loss", 0.5)]);
    while !context.cancelled() {
        sleep(Duration::from_millis(5));
    }
    fs::write(&checkpoint, "half").map_err(StageError::io(&checkpoint))?;
    Err(StageError::Cancelled)
}

/// Says which backend it was given.
struct Compute;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Kind for Compute {
    type Params = Nothing;
    const NAME: &'static str = "compute";
    const REVISION: u32 = 1;
    const DOC: &'static str = "its backend";
    const TRAITS: Traits = Traits { computes: true, numerics: "toy 1", ..Traits::PLAIN };

    fn inputs(&self, _: &Nothing, _: &Declared) -> Vec<InPort> {
        vec![InPort::optional("data", PortType::Dataset, "")]
    }

    fn outputs(&self, _: &Nothing, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn run(&self, _: Nothing, context: &mut Context) -> Result<(), StageError> {
        let path = context.output("out")?.join("train.jsonl");
        fs::write(&path, format!("\"{}\"", context.device.backend)).map_err(StageError::io(&path))
    }
}

/// Cannot run yet.
struct Later;

impl Kind for Later {
    type Params = Nothing;
    const NAME: &'static str = "later";
    const REVISION: u32 = 1;
    const DOC: &'static str = "not yet";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Nothing, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Nothing, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn unavailable(&self, _: &Nothing) -> Option<String> {
        Some("it comes later".into())
    }

    fn run(&self, _: Nothing, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// Changes the very file that it was given.
struct Touch;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TouchParams {
    path: String,
}

impl Kind for Touch {
    type Params = TouchParams;
    const NAME: &'static str = "touch";
    const REVISION: u32 = 1;
    const DOC: &'static str = "changes its source";
    const TRAITS: Traits = Traits { paths: &["path"], ..Traits::PLAIN };

    fn inputs(&self, _: &TouchParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &TouchParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Files, "")]
    }

    fn run(&self, _: TouchParams, context: &mut Context) -> Result<(), StageError> {
        let path = context.paths("path")[0].clone();
        fs::write(&path, "changed meanwhile").map_err(StageError::io(&path))
    }
}

/// Measures what it is told to.
struct Measure;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MeasureParams {
    acc: f64,
}

impl Kind for Measure {
    type Params = MeasureParams;
    const NAME: &'static str = "measure";
    const REVISION: u32 = 1;
    const DOC: &'static str = "a number";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &MeasureParams, _: &Declared) -> Vec<InPort> {
        vec![InPort::optional("data", PortType::Dataset, "")]
    }

    fn outputs(&self, _: &MeasureParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Metrics, "")]
    }

    fn run(&self, params: MeasureParams, context: &mut Context) -> Result<(), StageError> {
        let path = context.output("out")?.join("metrics.json");
        fs::write(&path, format!("{{\"toy\": {{\"acc\": {}}}}}", params.acc)).map_err(StageError::io(&path))
    }
}

/// Writes a line to a file each time it is tried, fails as often as it is told to, or does not end.
struct Flaky;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlakyParams {
    tries: std::path::PathBuf,
    #[serde(default)]
    failures: usize,
    #[serde(default)]
    endless: bool,
}

impl Kind for Flaky {
    type Params = FlakyParams;
    const NAME: &'static str = "flaky";
    const REVISION: u32 = 1;
    const DOC: &'static str = "fails at first";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &FlakyParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &FlakyParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn run(&self, params: FlakyParams, context: &mut Context) -> Result<(), StageError> {
        let before = fs::read_to_string(&params.tries).unwrap_or_default();
        fs::write(&params.tries, format!("{before}tried\n")).map_err(StageError::io(&params.tries))?;
        if params.endless {
            wait(context)?;
        }
        if before.lines().count() < params.failures {
            return Err(StageError::failed("not yet"));
        }
        let path = context.output("out")?.join("train.jsonl");
        fs::write(&path, "1").map_err(StageError::io(&path))
    }
}

/// Writes what its branch stands at.
struct Branch;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BranchParams {
    of: String,
}

impl Kind for Branch {
    type Params = BranchParams;
    const NAME: &'static str = "branch";
    const REVISION: u32 = 1;
    const DOC: &'static str = "something that moves";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &BranchParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &BranchParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, "")]
    }

    fn pins(&self, params: &BranchParams) -> Vec<Pin> {
        vec![Pin { what: params.of.clone(), revision: "main".into() }]
    }

    fn run(&self, params: BranchParams, context: &mut Context) -> Result<(), StageError> {
        let path = context.output("out")?.join("train.jsonl");
        fs::write(&path, context.pinned(&params.of)?).map_err(StageError::io(&path))
    }
}

/// Answers a question out of the memo, or anew, and then keeps the answer; fails afterwards where it is told to.
struct Remember;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RememberParams {
    answer: String,
    #[serde(default)]
    fail: bool,
    /// Reads `files` of all, as text.
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Part {
    #[serde(skip_serializing)]
    files: Vec<String>,
}

impl Kind for Remember {
    type Params = RememberParams;
    const NAME: &'static str = "remember";
    const REVISION: u32 = 1;
    const DOC: &'static str = "an answer";
    const TRAITS: Traits = Traits { memo: true, paths: &["parts[].files"], ..Traits::PLAIN };

    fn inputs(&self, _: &RememberParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &RememberParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Files, "")]
    }

    fn run(&self, params: RememberParams, context: &mut Context) -> Result<(), StageError> {
        let memo = context.memo("toy")?;
        let kept = memo.get(b"question")?;
        let mut answer = kept.unwrap_or_else(|| params.answer.clone().into_bytes());
        memo.put(b"question", &answer)?;
        let named = params.parts.iter().map(|part| part.files.len()).sum::<usize>();
        if params.fail || named > context.paths("parts[].files").len() {
            return Err(StageError::failed("as it was told"));
        }
        for path in context.paths("parts[].files") {
            answer.extend(fs::read(path).map_err(StageError::io(path))?);
        }
        let path = context.output("out")?.join("answer.txt");
        fs::write(&path, answer).map_err(StageError::io(&path))
    }
}

/// Works for so long, and makes something twice as large as what it is given.
struct Grow;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GrowParams {
    #[serde(default)]
    millis: u64,
}

impl Kind for Grow {
    type Params = GrowParams;
    const NAME: &'static str = "grow";
    const REVISION: u32 = 1;
    const DOC: &'static str = "twice as much";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &GrowParams, _: &Declared) -> Vec<InPort> {
        vec![InPort::optional("seed", PortType::Files, "")]
    }

    fn outputs(&self, _: &GrowParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Files, "")]
    }

    fn forecast(&self, params: &GrowParams, inputs: &Foresight) -> Forecast {
        let size = inputs.fact("seed", "size").and_then(|size| size.as_u64()).unwrap_or(500) * 2;
        let facts = [("size".to_string(), size.into())].into_iter().collect();
        Forecast {
            work: Some(params.millis as f64),
            peak_bytes: Some(size),
            outputs: [("out".to_string(), Foreseen::made(Some(size), facts))].into(),
            ..Forecast::default()
        }
    }

    fn run(&self, params: GrowParams, context: &mut Context) -> Result<(), StageError> {
        sleep(Duration::from_millis(params.millis));
        let path = context.output("out")?.join("size.json");
        fs::write(&path, "10000").map_err(StageError::io(&path))
    }
}
