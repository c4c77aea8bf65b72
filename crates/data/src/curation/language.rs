//! The language of texts, told by `whatlang`: the script first, then the frequencies of trigrams among the languages of
//! that script (Cavnar and Trenkle 1994). It knows 70 languages, is right about sentences and guesses about words;
//! `min_confidence` says how sure it must be.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use whatlang::Lang;

use super::{PlacedRow, Reason, Step, Verdict};
use crate::DataError;

/// The languages that stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Languages {
    /// Whose texts, taken together, are looked at.
    pub columns: Vec<String>,
    /// By their codes in ISO 639-3: `eng`, `deu`, `cmn`.
    pub languages: Vec<String>,
    /// Between 0 and 1; a text whose language is less sure is dropped, whichever it seems to be. `whatlang` itself calls
    /// more than 0.9 reliable.
    #[serde(default)]
    pub min_confidence: f64,
}

/// The step for [`Languages`].
pub struct Language {
    columns: Vec<String>,
    languages: Vec<Lang>,
    min_confidence: f64,
}

impl Language {
    /// # Errors
    /// No column or language is named, a code is not known, or the confidence is not between 0 and 1.
    pub fn new(params: Languages) -> Result<Language, DataError> {
        if params.columns.is_empty() {
            return Err(DataError::parameter("columns", "name at least one column whose text is looked at"));
        }
        if params.languages.is_empty() {
            return Err(DataError::parameter("languages", "name at least one language that stays"));
        }
        if !(0.0..=1.0).contains(&params.min_confidence) {
            return Err(DataError::parameter("min_confidence", "must be between 0 and 1"));
        }
        let languages = params.languages.iter().map(|code| language(code)).collect::<Result<_, _>>()?;
        Ok(Language { columns: params.columns, languages, min_confidence: params.min_confidence })
    }

    fn look(&self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let text = row.text(&self.columns)?;
        let Some(found) = whatlang::detect(&text) else {
            return Ok(Verdict::Dropped(Reason::NoLanguage { confidence: 0.0 }));
        };
        let confidence = found.confidence();
        Ok(match found.lang() {
            _ if confidence < self.min_confidence => Verdict::Dropped(Reason::NoLanguage { confidence }),
            known if self.languages.contains(&known) => Verdict::Kept,
            other => Verdict::Dropped(Reason::Language { language: other.code().into(), confidence }),
        })
    }
}

fn language(code: &str) -> Result<Lang, DataError> {
    Lang::from_code(code).filter(|lang| lang.code() == code).ok_or_else(|| {
        let known: Vec<&str> = Lang::all().iter().map(Lang::code).collect();
        DataError::parameter("languages", format!("`{code}` is not known; known are {}", known.join(", ")))
    })
}

impl Step for Language {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        self.look(row)
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        rows.par_iter().map(|row| self.look(row)).collect()
    }
}
