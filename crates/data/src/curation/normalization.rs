//! What two texts may differ in and yet be the same.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is taken out of texts before they are compared; nothing by default. All that is chosen is done in the order of
/// the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Normalization {
    /// Unicode's form NFKC (UAX 15): ligatures, full-width letters and composed accents.
    pub unicode: bool,
    /// Lower case, by Unicode's rules without a language.
    pub case: bool,
    /// Runs of white space are one space, and there is none at the ends.
    pub whitespace: bool,
}

impl Normalization {
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if self.unicode {
            let form = const { ComposingNormalizerBorrowed::new_nfkc() };
            text = form.normalize(&text).into_owned().into();
        }
        if self.case {
            text = text.to_lowercase().into();
        }
        if self.whitespace {
            text = text.split_whitespace().collect::<Vec<_>>().join(" ").into();
        }
        text
    }

    /// A value with all its texts normalised, at any depth; keys stay.
    pub fn value<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        if *self == Normalization::default() {
            return Cow::Borrowed(value);
        }
        Cow::Owned(match value {
            Value::String(text) => Value::from(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item).into_owned()).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.clone(), self.value(value).into_owned())).collect())
            }
            scalar => scalar.clone(),
        })
    }
}
