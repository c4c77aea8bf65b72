//! The model of an earlier stage.

use gazal_data::Stream;
use gazal_lm::{ChatOptions, Decoder, GenerationConfig, SamplingParams, Tokenizer, generate, load_adapter};
use gazal_stage_api::{Context, StageError};
use serde_json::Value;

use super::{Answer, Asking, Wish, fingerprint, memo_key};
use crate::device;

pub struct Local {
    decoder: Decoder,
    tokenizer: Tokenizer,
    /// The digest of its files, which stands for it in the memo and in rows.
    name: String,
    seed: u64,
}

impl Local {
    /// # Errors
    /// A model or an adapter that cannot be loaded.
    pub fn open(context: &Context) -> Result<Local, StageError> {
        let (folder, adapter) = (context.input("model")?, context.optional("adapter"));
        let tokenizer = Tokenizer::load(folder).map_err(StageError::failed)?;
        let mut decoder = device::load(context, folder)?;
        if let Some(adapter) = adapter {
            load_adapter(&mut decoder, adapter).map_err(StageError::failed)?;
        }
        let folders: Vec<_> = [Some(folder), adapter].into_iter().flatten().collect();
        let device = context.device;
        let name = format!("{}-{}-{}", fingerprint(&folders)?, device.backend.class(), device.precision.name());
        Ok(Local { decoder, tokenizer, name, seed: context.seed })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Answers from the memo, and generated ones, which are kept there, batch after batch.
    ///
    /// # Errors
    /// A memo that cannot be used, a prompt that is longer than the model's context, or cancellation.
    pub fn answer(&self, asking: &Asking, wishes: &[Wish], context: &Context) -> Result<Vec<Answer>, StageError> {
        let memo = context.memo(asking.memo)?;
        let keys: Vec<String> = wishes.iter().map(|wish| memo_key(asking, &self.name, wish)).collect();
        let known = |key: &String| -> Result<Option<Answer>, StageError> {
            Ok(memo.get(key.as_bytes())?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
        };
        let mut answers = keys.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let open: Vec<usize> = (0..wishes.len()).filter(|&at| answers[at].is_none()).collect();
        for batch in open.chunks(asking.batch_size) {
            let wanted: Vec<&Wish> = batch.iter().map(|&at| &wishes[at]).collect();
            for (&at, answer) in batch.iter().zip(self.generate(asking, &wanted)?) {
                let text = serde_json::to_string(&answer).map_err(StageError::failed)?;
                memo.put(keys[at].as_bytes(), text.as_bytes())?;
                answers[at] = Some(answer);
            }
            if context.cancelled() {
                return Err(StageError::Cancelled);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// An answer's random numbers belong to its wish, not to its place in the batch.
    fn generate(&self, asking: &Asking, wishes: &[&Wish]) -> Result<Vec<Answer>, StageError> {
        let longest = self.decoder.config.max_position_embeddings.saturating_sub(asking.max_new_tokens);
        let mut prompts = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let ids = self.encode(&wish.messages)?;
            if ids.len() > longest {
                return Err(StageError::failed(format!(
                    "a question has {} tokens, and the model's context leaves {longest} beside `max_new_tokens`: lower it",
                    ids.len()
                )));
            }
            prompts.push(ids);
        }
        let config = GenerationConfig {
            sampling: SamplingParams {
                temperature: asking.temperature,
                top_p: asking.top_p,
                ..SamplingParams::default()
            },
            max_new_tokens: asking.max_new_tokens,
            eos: self.tokenizer.eos_ids.clone(),
            pad: self.tokenizer.pad,
            num_generations: 1,
        };
        let streams: Vec<Stream> = wishes
            .iter()
            .map(|wish| Stream::new(self.seed, &format!("{} {} {:?}", asking.memo, wish.seed, wish.messages)))
            .collect();
        let generated = generate(&self.decoder, &prompts, &config, &|row, step| streams[row].uniform(step as u64, 0));
        let answer = |generated: gazal_lm::Generated| {
            let text = self.tokenizer.decode(&generated.ids).map_err(StageError::failed)?;
            Ok(Answer { text, cut: !generated.finished })
        };
        generated.into_iter().map(answer).collect()
    }

    /// By the model's chat template; without one the messages' texts, each on lines of its own.
    fn encode(&self, messages: &[Value]) -> Result<Vec<u32>, StageError> {
        if self.tokenizer.chat_template(false).is_ok() {
            let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
            return self.tokenizer.encode_chat(messages, &options).map_err(StageError::failed);
        }
        let texts = messages.iter().filter_map(|message| message["content"].as_str());
        let text: String = texts.map(|text| format!("{}\n", text.trim_end())).collect();
        self.tokenizer.encode(&text).map_err(StageError::failed)
    }
}
