//! Files that are part of the program, compressed.

use std::io::Read;

use flate2::read::GzDecoder;
use gazal_stage_api::StageError;

/// The text of a file that `include_bytes!` has brought.
///
/// # Errors
/// When it is no text compressed by gzip.
pub fn text(bytes: &[u8]) -> Result<String, StageError> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).map_err(StageError::failed)?;
    Ok(text)
}
