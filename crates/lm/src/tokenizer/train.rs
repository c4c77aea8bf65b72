//! Training of a byte-level BPE tokenizer.

use std::path::Path;

use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::failed;
use crate::LmError;

/// Ends a turn; also ends generation.
const EOS: &str = "<|im_end|>";
/// Fills batches; never a target.
const PAD: &str = "<|endoftext|>";

/// Trains a byte-level BPE tokenizer on `texts` and writes it as a Hugging Face folder: `<|endoftext|>`,
/// `<|im_start|>`, `<|im_end|>` as special tokens, `<think>` and `</think>` as whole ones.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn train_bpe(texts: &[String], vocab_size: usize, folder: &Path) -> Result<(), LmError> {
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
