//! Learning curves from `trainer_state.json`.

use std::path::Path;

use gazal_stage_api::StageError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One picture: lines over steps, of the optimizer if nothing else is said.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Of the training that it belongs to, if it belongs to one.
    pub history: String,
    pub title: String,
    /// The name of its picture.
    pub file: String,
    /// What is counted to the right.
    #[serde(skip)]
    pub axis: &'static str,
    pub lines: Vec<Line>,
}

impl Curve {
    pub fn caption(&self) -> String {
        if self.history.is_empty() { self.title.clone() } else { format!("{}: {}", self.history, self.title) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: String,
    /// Step and value, as logged.
    pub points: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct State {
    log_history: Vec<Map<String, Value>>,
}

/// The curves of one training, the `number`th of the report: its loss, or what its policy earned.
///
/// # Errors
/// No `trainer_state.json`, or one in another layout.
pub fn read(folder: &Path, number: usize, history: &str) -> Result<Vec<Curve>, StageError> {
    let path = folder.join("trainer_state.json");
    let text = std::fs::read_to_string(&path).map_err(StageError::io(&path))?;
    let named = |error| StageError::failed(format!("{}: {error}", path.display()));
    let state: State = serde_json::from_str(&text).map_err(named)?;
    let log = state.log_history;
    let is_policy = log.iter().any(|entry| entry.contains_key("reward"));
    let titles: &[(&str, Vec<(String, String)>)] = &if is_policy { policy(&log) } else { supervised() };
    let curves = titles.iter().filter_map(|(title, lines)| {
        let lines: Vec<Line> = lines.iter().map(|(key, name)| line(&log, key, name)).collect();
        let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        let file = format!("{}.svg", slug(&format!("{number} {history} {title}")));
        (!lines.is_empty()).then(|| Curve {
            history: history.into(),
            title: (*title).into(),
            file,
            axis: "step",
            lines,
        })
    });
    Ok(curves.collect())
}

/// Pictures, each with the keys of its lines and their names.
type Pictures = Vec<(&'static str, Vec<(String, String)>)>;

fn named(key: &str, name: &str) -> (String, String) {
    (key.into(), name.into())
}

fn supervised() -> Pictures {
    vec![("Loss", vec![named("loss", "training"), named("eval_loss", "held-out")])]
}

/// TRL's names. Accuracy and format are among the means of the reward functions.
fn policy(log: &[Map<String, Value>]) -> Pictures {
    let mut keys: Vec<&String> = Vec::new();
    for key in log.iter().flat_map(Map::keys).filter(|key| key.starts_with("rewards/") && key.ends_with("/mean")) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let name = |key: &str| {
        let name = key.trim_start_matches("rewards/").trim_end_matches("/mean");
        name.trim_start_matches("get_").trim_end_matches("_reward").replace('_', " ")
    };
    vec![
        ("Reward", vec![named("reward", "training"), named("eval_reward", "held-out")]),
        ("Reward by function", keys.into_iter().map(|key| (key.clone(), name(key))).collect()),
        ("Tokens of a completion", vec![named("completions/mean_length", "mean")]),
        ("KL to the reference", vec![named("kl", "training")]),
    ]
}

fn line(log: &[Map<String, Value>], key: &str, name: &str) -> Line {
    let point = |entry: &Map<String, Value>| Some((entry.get("step")?.as_f64()?, entry.get(key)?.as_f64()?));
    Line { name: name.into(), points: log.iter().filter_map(point).collect() }
}

/// A file name: lower-case letters and digits, `-` for all else.
pub fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}
