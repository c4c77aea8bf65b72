//! From the rows of a data set to sequences: the forms that TRL reads, what of them is learnt, and what is too long.

use gazal_lm::{ChatOptions, Tokenizer};
use gazal_stage_api::{Context, JsonSchema, Level, StageError};
use gazal_train::Sequence;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rows::read_split;

/// A row in one of five forms: `messages`; `conversations`, ShareGPT's name of them; `prompt` and `completion`; `text`;
/// `input_ids`, perhaps with `labels`.
#[derive(Deserialize)]
struct Row {
    messages: Option<Vec<Value>>,
    conversations: Option<Vec<Value>>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    prompt: Option<Words>,
    completion: Option<Words>,
    text: Option<String>,
    input_ids: Option<Vec<u32>>,
    /// Beside `input_ids` the tokens, and [`IGNORED`] in the place of those that are not learnt; anything elsewhere.
    labels: Option<Value>,
}

/// A label that says nothing, in PyTorch and wherever its losses are known.
const IGNORED: i64 = -100;

/// A turn of ShareGPT's (`from` and `value`) as a message; one that is a message already as it is.
fn message(turn: &Value) -> Result<Value, String> {
    let Some(from) = turn["from"].as_str() else { return Ok(turn.clone()) };
    let role = match from {
        "human" | "user" => "user",
        "gpt" | "assistant" => "assistant",
        "system" => "system",
        other => return Err(format!("`conversations` has a turn from `{other}`, not from human, gpt or system")),
    };
    Ok(json!({ "role": role, "content": turn["value"] }))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Messages(Vec<Value>),
}

/// What becomes of an example that is longer than `max_length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum TruncationMode {
    /// It is left out: an answer that is cut off teaches not to end.
    #[default]
    Drop,
    /// Its end is cut off.
    KeepStart,
}

/// What is learnt of an example, and how long it may be.
pub struct Reading<'a> {
    pub tokenizer: &'a Tokenizer,
    pub max_length: usize,
    pub truncation_mode: TruncationMode,
    /// For prompts with completions; they are learnt too where it is false.
    pub completion_only_loss: bool,
    /// For conversations: only what the template marks as the assistant's.
    pub assistant_only_loss: bool,
}

const FORMS: &str = "has to have `messages`, or `conversations`, or `prompt` and `completion` (both texts or both messages), \
    or `text`, or `input_ids`, and only one of these";

impl Reading<'_> {
    /// The sequences of a split. What is cut off, too long or without anything to learn is counted and said.
    pub fn split(&self, context: &mut Context, split: &str) -> Result<Vec<Sequence>, StageError> {
        let rows: Vec<Row> = read_split(context.inputs("dataset"), split)?;
        let count = rows.len();
        let (mut kept, mut long, mut empty) = (Vec::with_capacity(count), 0, 0);
        for (index, row) in rows.iter().enumerate() {
            let failed = |why: String| StageError::failed(format!("row {} of the split `{split}`: {why}", index + 1));
            let whole = self.sequence(row).map_err(failed)?;
            let is_long = whole.ids.len() > self.max_length;
            long += usize::from(is_long);
            if is_long && self.truncation_mode == TruncationMode::Drop {
                continue;
            }
            let sequence = whole.cut(self.max_length);
            match sequence.targets() {
                0 => empty += 1,
                _ => kept.push(sequence),
            }
        }
        let done = if self.truncation_mode == TruncationMode::Drop { "dropped" } else { "cut off" };
        let max_length = self.max_length;
        for (number, what) in [
            (long, format!("are longer than {max_length} tokens and were {done}")),
            (empty, "have nothing to learn and were dropped".to_string()),
        ] {
            if number > 0 {
                context.say(Level::Warning, format!("{number} of {count} {split} examples {what}"));
            }
        }
        Ok(kept)
    }

    fn sequence(&self, row: &Row) -> Result<Sequence, String> {
        match (&row.prompt, &row.completion, &row.input_ids) {
            (Some(Words::Text(prompt)), Some(Words::Text(completion)), None) => {
                return self.joined(prompt, completion, true);
            }
            (Some(Words::Messages(prompt)), Some(Words::Messages(completion)), None) => {
                return self.continued(prompt, completion, row);
            }
            (None, None, _) => {}
            _ => return Err(FORMS.into()),
        }
        match (&row.messages, &row.conversations, &row.text, &row.input_ids) {
            (Some(messages), None, None, None) => self.conversation(messages, row),
            (None, Some(turns), None, None) => {
                let messages = turns.iter().map(message).collect::<Result<Vec<_>, _>>()?;
                self.conversation(&messages, row)
            }
            (None, None, Some(text), None) => {
                let mut ids = self.encode(text)?;
                self.end(&mut ids);
                Ok(Sequence::new(ids, 1))
            }
            (None, None, None, Some(ids)) => self.tokenized(ids, row.labels.as_ref()),
            _ => Err(FORMS.into()),
        }
    }

    /// Tokens as they are: nothing is put behind them.
    fn tokenized(&self, ids: &[u32], labels: Option<&Value>) -> Result<Sequence, String> {
        let known = self.tokenizer.vocab_size();
        if let Some(id) = ids.iter().find(|id| **id as usize >= known) {
            return Err(format!("`input_ids` has {id}, and the tokenizer knows {known} tokens"));
        }
        let Some(labels) = labels else { return Ok(Sequence::new(ids.to_vec(), 1)) };
        let labels = Vec::<i64>::deserialize(labels).unwrap_or_default();
        let fits = |(id, label): (&u32, &i64)| *label == IGNORED || *label == i64::from(*id);
        if labels.len() != ids.len() || !ids.iter().zip(&labels).all(fits) {
            return Err(format!("`labels` are not `input_ids` with {IGNORED} in the place of some"));
        }
        Ok(Sequence::masked(ids.to_vec(), labels.iter().map(|label| *label != IGNORED).collect()))
    }

    fn conversation(&self, messages: &[Value], row: &Row) -> Result<Sequence, String> {
        let options = options(row, false);
        if self.assistant_only_loss {
            let told = self.tokenizer.encode_conversation(messages, &options).map_err(|error| error.to_string())?;
            return Ok(Sequence::masked(told.ids, told.assistant));
        }
        let ids = self.tokenizer.encode_chat(messages, &options).map_err(|error| error.to_string())?;
        Ok(Sequence::new(ids, 1))
    }

    /// A prompt that a template ends where the assistant's turn begins, and what the template writes after it.
    fn continued(&self, prompt: &[Value], completion: &[Value], row: &Row) -> Result<Sequence, String> {
        let whole = [prompt, completion].concat();
        if self.assistant_only_loss {
            return self.conversation(&whole, row);
        }
        let template = self.tokenizer.chat_template(row.tools.is_some()).map_err(|error| error.to_string())?;
        let render = |messages: &[Value], prompts| {
            template.render(messages, &options(row, prompts)).map_err(|error| error.to_string())
        };
        let (before, whole) = (render(prompt, true)?, render(&whole, false)?);
        let after = whole.strip_prefix(&before).ok_or(
            "the chat template writes the prompt in another way when the completion follows, so that no text of the \
             completion's own is left: use `messages` with `assistant_only_loss`",
        )?;
        self.joined(&before, after, false)
    }

    /// Both tokenised apart and joined; `ends` puts an end-of-text token after them, which is learnt, where none is.
    fn joined(&self, prompt: &str, completion: &str, ends: bool) -> Result<Sequence, String> {
        let mut ids = self.encode(prompt)?;
        let learn_from = if self.completion_only_loss { ids.len() } else { 1 };
        ids.extend(self.encode(completion)?);
        if ends {
            self.end(&mut ids);
        }
        Ok(Sequence::new(ids, learn_from))
    }

    /// Puts an end-of-text token behind a text that does not end with one.
    fn end(&self, ids: &mut Vec<u32>) {
        if ids.last() != Some(&self.tokenizer.eos) {
            ids.push(self.tokenizer.eos);
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        self.tokenizer.encode(text).map_err(|error| error.to_string())
    }
}

fn options(row: &Row, add_generation_prompt: bool) -> ChatOptions {
    ChatOptions { add_generation_prompt, tools: row.tools.clone().unwrap_or_default(), ..ChatOptions::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::path::Path;

    use gazal_lm::ChatTemplate;
    use gazal_stage_api::{Backend, DeviceRequest, Event, Folders, Precision};

    use super::*;

    /// With a template that marks what the assistant says.
    fn tokenizer() -> Tokenizer {
        let root = std::env::var("GAZAL_FIXTURES")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
        let mut tokenizer = Tokenizer::load(&Path::new(&root).join("models/qwen3")).unwrap();
        let source = "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}.\
            {% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}\
            {% if add_generation_prompt %}assistant: {% endif %}";
        tokenizer.set_chat_template(ChatTemplate::new("a test", source, BTreeMap::new()).unwrap());
        tokenizer
    }

    fn reading(tokenizer: &Tokenizer) -> Reading<'_> {
        Reading {
            tokenizer,
            max_length: 100,
            truncation_mode: TruncationMode::Drop,
            completion_only_loss: true,
            assistant_only_loss: false,
        }
    }

    /// The text of a row, and of what is learnt of it.
    fn told(reading: &Reading, row: &Value) -> Result<(String, String), String> {
        let sequence = reading.sequence(&serde_json::from_value(row.clone()).unwrap())?;
        let spell = |ids: Vec<u32>| ids.iter().map(|&id| reading.tokenizer.spell(id).unwrap()).collect::<String>();
        let learnt = sequence.learnt().collect();
        Ok((spell(sequence.ids), spell(learnt)))
    }

    #[test]
    fn each_form_is_learnt_as_its_name_says() {
        let tokenizer = tokenizer();
        let eos = tokenizer.spell(tokenizer.eos).unwrap();
        let user = json!({"role": "user", "content": "ab"});
        let assistant = json!({"role": "assistant", "content": "cd"});
        let pair = json!({"prompt": "ab", "completion": "cd"});
        let talk = json!({"messages": [user, assistant, user, assistant]});
        let parts = json!({"prompt": [user], "completion": [assistant]});
        let plain = reading(&tokenizer);
        let whole = Reading { completion_only_loss: false, ..reading(&tokenizer) };
        let marked = Reading { assistant_only_loss: true, ..reading(&tokenizer) };
        let text = |words: &str, learnt: &str| Ok((words.to_string(), learnt.to_string()));
        assert_eq!(told(&plain, &pair), text(&format!("abcd{eos}"), &format!("cd{eos}")));
        assert_eq!(told(&whole, &pair).unwrap().1.len(), format!("bcd{eos}").len());
        let once = "user: ab\nassistant: cd.\n";
        assert_eq!(told(&plain, &parts), text(once, "cd.\n"));
        assert_eq!(told(&marked, &parts), text(once, "cd."));
        assert_eq!(told(&marked, &talk), text(&once.repeat(2), "cd.cd."));
        let (all, learnt) = told(&plain, &talk).unwrap();
        assert!(all == once.repeat(2) && all.ends_with(&learnt) && learnt.len() + 4 >= all.len(), "{learnt:?}");
        let (all, learnt) = told(&plain, &json!({"text": "abcd"})).unwrap();
        assert!(all == format!("abcd{eos}") && all.ends_with(&learnt));
        let ended = [json!({"text": format!("abcd{eos}")}), json!({"prompt": "ab", "completion": format!("cd{eos}")})];
        ended
            .iter()
            .for_each(|row| assert_eq!(told(&plain, row).unwrap().0, format!("abcd{eos}"), "one end is enough"));
    }

    #[test]
    fn turns_of_sharegpt_and_tokens_are_read_as_they_are() {
        let tokenizer = tokenizer();
        let (plain, marked) = (reading(&tokenizer), Reading { assistant_only_loss: true, ..reading(&tokenizer) });
        let turns = |second: &str| json!([{"from": "human", "value": "ab"}, {"from": second, "value": "cd"}]);
        let (all, learnt) = told(&marked, &json!({"conversations": turns("gpt")})).unwrap();
        assert_eq!((all.as_str(), learnt.as_str()), ("user: ab\nassistant: cd.\n", "cd."));
        let error = told(&plain, &json!({"conversations": turns("bard")})).unwrap_err();
        assert!(error.contains("from `bard`"), "{error}");

        let ids = tokenizer.encode("abcd").unwrap();
        let row = |labels: Vec<i64>| told(&plain, &json!({"input_ids": ids, "labels": labels}));
        let mut labels: Vec<i64> = ids.iter().map(|id| (*id).into()).collect();
        assert_eq!(row(labels.clone()), told(&plain, &json!({"input_ids": ids})));
        let last = tokenizer.spell(ids[ids.len() - 1]).unwrap();
        labels[..ids.len() - 1].fill(IGNORED);
        assert_eq!(row(labels.clone()), Ok(("abcd".into(), last)), "nothing is put behind them");
        labels[0] = 1 + i64::from(ids[0]);
        for wrong in [labels, vec![IGNORED]] {
            assert!(row(wrong).unwrap_err().contains("`labels`"));
        }
        let unknown = told(&plain, &json!({"input_ids": [1_000_000]})).unwrap_err();
        assert!(unknown.contains("1000000"), "{unknown}");
        let labelled = json!({"text": "abcd", "labels": "positive"});
        assert_eq!(told(&plain, &labelled), told(&plain, &json!({"text": "abcd"})), "a column of another meaning");
        let messages = json!([{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]);
        let named = told(&marked, &json!({"conversations": messages}));
        assert_eq!(named, told(&marked, &json!({"messages": messages})));
        let twice = told(&plain, &json!({"input_ids": ids, "text": "abcd"})).unwrap_err();
        assert!(twice.contains("only one of these"), "{twice}");
    }

    #[test]
    fn a_row_of_no_form_and_a_template_that_rewrites_the_prompt_are_named() {
        let mut tokenizer = tokenizer();
        let error = told(&reading(&tokenizer), &json!({"prompt": "ab"})).unwrap_err();
        assert!(error.contains("`prompt` and `completion`"), "{error}");
        let source = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}";
        tokenizer.set_chat_template(ChatTemplate::new("a test", source, BTreeMap::new()).unwrap());
        let parts = json!({"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]});
        assert!(told(&reading(&tokenizer), &parts).unwrap_err().contains("assistant_only_loss"));
        let marked = Reading { assistant_only_loss: true, ..reading(&tokenizer) };
        assert!(told(&marked, &parts).unwrap_err().contains("nothing to learn"), "an empty mask");
    }

    /// A short row, one that is longer than `max_length` with its completion, and one that is with its prompt alone.
    #[test]
    fn what_is_not_learnt_is_counted_and_said() {
        let tokenizer = tokenizer();
        let long = "abcdefghijklmnop";
        let folder = tempfile::tempdir().unwrap();
        let rows = [("a", "b"), ("a", long), (long, "a")]
            .map(|(prompt, completion)| format!("{}\n", json!({"prompt": prompt, "completion": completion})));
        std::fs::write(folder.path().join("train.jsonl"), rows.concat()).unwrap();
        let max_length = tokenizer.encode(long).unwrap().len();
        let split = |truncation_mode| {
            let folders = Folders {
                inputs: [("dataset".to_string(), vec![folder.path().to_path_buf()])].into(),
                ..Folders::default()
            };
            let mut said = Vec::new();
            let mut report = |event| {
                if let Event::Message { text, .. } = event {
                    said.push(text);
                }
            };
            let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
            let never = || false;
            let mut context = Context::new(folders, 7, device, &mut report, &never);
            let reading = Reading { max_length, truncation_mode, ..reading(&tokenizer) };
            let kept = reading.split(&mut context, "train").unwrap();
            (kept.iter().map(Sequence::targets).collect::<Vec<_>>(), said)
        };
        let long = |done: &str| format!("2 of 3 train examples are longer than {max_length} tokens and were {done}");
        assert_eq!(split(TruncationMode::Drop), (vec![2], vec![long("dropped")]));
        let nothing = "1 of 3 train examples have nothing to learn and were dropped".to_string();
        assert_eq!(split(TruncationMode::KeepStart), (vec![2, max_length - 1], vec![long("cut off"), nothing]));
    }
}
