//! `tokenizer.json` through the `tokenizers` crate.

use std::path::{Path, PathBuf};

use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::LmError;

/// Ends a turn; also ends generation.
const EOS: &str = "<|im_end|>";
/// Fills batches; never a target.
const PAD: &str = "<|endoftext|>";

/// A tokenizer with the ids that generation needs.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    folder: PathBuf,
    pub eos: u32,
    pub pad: u32,
}

impl Tokenizer {
    /// Loads `tokenizer.json`, and the names of the eos and pad tokens from `tokenizer_config.json`.
    ///
    /// # Errors
    /// Naming the file, or the token that is not in the vocabulary.
    pub fn load(folder: &Path) -> Result<Tokenizer, LmError> {
        let path = folder.join("tokenizer.json");
        let inner = tokenizers::Tokenizer::from_file(&path).map_err(|error| LmError::file(&path, error))?;
        let path = folder.join("tokenizer_config.json");
        let text = std::fs::read_to_string(&path).map_err(LmError::io(&path))?;
        let config: serde_json::Value = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
        let id = |field: &str| {
            let token = match &config[field] {
                serde_json::Value::String(token) => token.as_str(),
                value => value["content"].as_str().unwrap_or_default(),
            };
            inner
                .token_to_id(token)
                .ok_or_else(|| LmError::file(&path, format!("`{field}` is no token of the vocabulary")))
        };
        let (eos, pad) = (id("eos_token")?, id("pad_token")?);
        Ok(Tokenizer { inner, folder: folder.to_path_buf(), eos, pad })
    }

    /// Ids of `text`; nothing is added.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, LmError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| LmError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LmError> {
        self.inner.decode(ids, true).map_err(|error| LmError::Tokenizer(error.to_string()))
    }

    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Copies the tokenizer's files into a model folder.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let from = self.folder.join(name);
            let bytes = std::fs::read(&from).map_err(LmError::io(&from))?;
            let to = folder.join(name);
            std::fs::write(&to, bytes).map_err(LmError::io(&to))?;
        }
        Ok(())
    }
}

/// Trains a byte-level BPE tokenizer on `texts` and writes it as a Hugging Face folder: `<|endoftext|>`,
/// `<|im_start|>`, `<|im_end|>` as special tokens, `<think>` and `</think>` as whole ones.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn train_bpe(texts: &[String], vocab_size: usize, folder: &Path) -> Result<(), LmError> {
    let failed = |error: tokenizers::Error| LmError::Tokenizer(error.to_string());
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let special = [PAD, "<|im_start|>", EOS].map(|token| AddedToken::from(token, true));
    let whole = ["<think>", "</think>"].map(|token| AddedToken::from(token, false));
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size - whole.len())
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.to_vec())
        .build();
    let mut trainer = TrainerWrapper::BpeTrainer(trainer);
    tokenizer.train(&mut trainer, texts.iter().map(String::as_str)).map_err(failed)?;
    tokenizer.add_tokens(whole).map_err(failed)?;
    tokenizer.save(folder.join("tokenizer.json"), true).map_err(failed)?;
    let path = folder.join("tokenizer_config.json");
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": false,
    });
    let text = serde_json::to_string_pretty(&config).map_err(|error| LmError::file(&path, error))?;
    std::fs::write(&path, text + "\n").map_err(LmError::io(&path))
}
