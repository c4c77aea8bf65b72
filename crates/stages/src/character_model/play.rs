//! `play`: a comedy that the program carries, as a text that `train-character-model` reads; see `as_you_like_it.md`.

use std::fs;

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, StageError, Traits};
use serde::{Deserialize, Serialize};

use crate::embedded;

const PLAY: &[u8] = include_bytes!("as_you_like_it.txt.gz");
const ABOUT: &str = include_str!("as_you_like_it.md");

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {}

pub struct Play;

impl Kind for Play {
    type Params = Params;
    const NAME: &'static str = "play";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Writes Shakespeare's As You Like It, 125,179 characters.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("dataset", PortType::Files, "the text, and where it is from")]
    }

    fn run(&self, _: Params, context: &mut Context) -> Result<(), StageError> {
        let folder = context.output("dataset")?;
        let text = embedded::text(PLAY)?;
        [("as_you_like_it.txt", text.as_str()), ("README.md", ABOUT)].into_iter().try_for_each(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(StageError::io(&path))
        })
    }
}
