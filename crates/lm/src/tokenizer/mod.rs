//! `tokenizer.json` through the `tokenizers` crate: text to ids and back, conversations to ids with a mask.

mod special;
#[cfg(test)]
mod tests;
mod train;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::PostProcessorWrapper;

use crate::LmError;
use crate::chat::{self, ChatOptions, ChatTemplate, Templates};
use special::Special;
pub use train::train_bpe;

/// What a tokenizer's folder consists of; `tokenizer.json` must be there. `generation_config.json` holds ids that end
/// generation.
const FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// A tokenizer with the ids that training and generation need, and the model's chat templates.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    folder: PathBuf,
    /// Ends what the assistant says: `eos_token` of `tokenizer_config.json`, else the first of `eos_ids`.
    pub eos: u32,
    /// All that ends generation: `eos` and what `generation_config.json` and `config.json` name, in that order.
    pub eos_ids: Vec<u32>,
    /// Fills batches; never `eos`. Masks go by length, not by this id.
    pub pad: u32,
    templates: Templates,
}

/// A conversation as ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub ids: Vec<u32>,
    /// For each id whether the assistant says it.
    pub assistant: Vec<bool>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` with the tokens that `tokenizer_config.json` adds, the special tokens that it, else
    /// `special_tokens_map.json`, names, and the chat templates.
    ///
    /// # Errors
    /// Naming the file and the field or token that is wrong.
    pub fn load(folder: &Path) -> Result<Tokenizer, LmError> {
        let path = folder.join("tokenizer.json");
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(|error| LmError::file(&path, error))?;
        // Padding and truncation may be left in the file by whoever saved it; neither is part of what a text's ids are.
        // A post-processor adds tokens, which nobody here wants, and may take white space out of tokens' offsets, so
        // that no mask would hold it.
        inner.with_padding(None).with_post_processor(None::<PostProcessorWrapper>);
        inner.with_truncation(None).map_err(|error| LmError::file(&path, error))?;
        let config = special::read(folder, "tokenizer_config.json")?;
        special::add_tokens(&mut inner, &folder.join("tokenizer_config.json"), &config)?;
        let Special { eos_ids, eos, pad, tokens } = Special::of(folder, &config, &inner)?;
        let templates = chat::load(folder, &config, &tokens)?;
        Ok(Tokenizer { inner, folder: folder.to_path_buf(), eos, eos_ids, pad, templates })
    }

    /// Ids of `text`; nothing is added.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, LmError> {
        let encoding = self.inner.encode_fast(text, false).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LmError> {
        self.inner.decode(ids, true).map_err(failed)
    }

    /// A token as it is spelled, special ones included.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn spell(&self, id: u32) -> Result<String, LmError> {
        self.inner.decode(&[id], false).map_err(failed)
    }

    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The chat template for a conversation with or without tools.
    ///
    /// # Errors
    /// When the model comes with none.
    pub fn chat_template(&self, tools: bool) -> Result<&ChatTemplate, LmError> {
        self.templates
            .choose(tools)
            .ok_or_else(|| LmError::file(&self.folder, "there is no chat template: put one into `chat_template.jinja`"))
    }

    /// Puts `template` in the place of the model's own ones: a training template with `{% generation %}`, say. What
    /// [`Tokenizer::save`] copies are still the model's own.
    pub fn set_chat_template(&mut self, template: ChatTemplate) {
        self.templates.replace(template);
    }

    /// Ids of a conversation; with `add_generation_prompt` the prompt that the assistant continues.
    ///
    /// # Errors
    /// What the template raises.
    pub fn encode_chat(&self, messages: &[Value], options: &ChatOptions) -> Result<Vec<u32>, LmError> {
        let template = self.chat_template(!options.tools.is_empty())?;
        self.encode(&template.render(messages, options)?)
    }

    /// Ids of a conversation to learn from, with a mask of what the assistant says.
    ///
    /// # Errors
    /// What the template raises, and when the mask would be empty.
    pub fn encode_conversation(&self, messages: &[Value], options: &ChatOptions) -> Result<Conversation, LmError> {
        let template = self.chat_template(!options.tools.is_empty())?;
        let (text, spans) = template.render_spans(messages, options)?;
        let encoding = self.inner.encode(text.as_str(), false).map_err(failed)?;
        let assistant = overlaps(encoding.get_offsets(), &spans);
        if !assistant.contains(&true) {
            return Err(template.error(
                "marks nothing as the assistant's, so there is nothing to learn: what it says has to be between \
                 `{% generation %}` and `{% endgeneration %}`",
            ));
        }
        Ok(Conversation { ids: encoding.get_ids().to_vec(), assistant })
    }

    /// Copies the tokenizer's files into a model folder.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        let files = FILES.iter().map(PathBuf::from);
        for name in files.chain(chat::more_files(&self.folder)?) {
            let (from, to) = (self.folder.join(&name), folder.join(&name));
            if from.exists() {
                let bytes = fs::read(&from).map_err(LmError::io(&from))?;
                to.parent().map_or(Ok(()), fs::create_dir_all).map_err(LmError::io(&to))?;
                fs::write(&to, bytes).map_err(LmError::io(&to))?;
            }
        }
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> LmError {
    LmError::Tokenizer(error.to_string())
}

/// For each token whether its bytes and a span have one in common; both ascend.
fn overlaps(offsets: &[(usize, usize)], spans: &[Range<usize>]) -> Vec<bool> {
    let inside = |&(start, end): &(usize, usize)| {
        let next = spans.partition_point(|span| span.end <= start);
        spans.get(next).is_some_and(|span| start < end && span.start < end)
    };
    offsets.iter().map(inside).collect()
}
