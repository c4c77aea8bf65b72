//! `fetch-dataset`: rows of repositories of the hub, put together.
//!
//! A file belongs to the split that its path names, as the hub has it: `test`, `validation` (or `valid`, `val`, `dev`),
//! else `train`. Files are read in the order of their names, repositories in that of the parameter.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use gazal_data::Row;
use gazal_net::{RemoteFile, Repo, RepoKind};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, Pin, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use super::{fetch, list, main_branch, matches, pin, wrong_ids, wrong_patterns};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Hub ids, such as `UCSC-VLAA/MedReason`, put together in this order.
    pub dataset_name: Vec<String>,
    /// A branch, a tag or a commit, of each of them. What it stands at is written into the lock file beside the
    /// pipeline, and is in the key.
    #[serde(default = "main_branch")]
    pub dataset_revision: String,
    /// Patterns of the files with rows [default: all that are Parquet, else JSON Lines, else JSON].
    #[serde(default)]
    pub data_files: Vec<String>,
    /// The first rows of each split; 0 for all.
    #[serde(default)]
    pub max_samples: u64,
}

/// Many repositories have the same rows in several of these: the first that is there counts.
const FORMS: [&str; 3] = ["*.parquet", "*.jsonl", "*.json"];

/// What lies beside rows in many repositories.
const NO_ROWS: [&str; 4] = ["dataset_infos.json", "dataset_info.json", "state.json", "package.json"];

pub struct FetchDataset;

impl Kind for FetchDataset {
    type Params = Params;
    const NAME: &'static str = "fetch-dataset";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Data sets from the hub by their ids.";
    const TRAITS: Traits = Traits { network: true, unkeyed: &["dataset_revision"], ..Traits::PLAIN };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("dataset", PortType::Dataset, "rows, a file for each split")]
    }

    fn pins(&self, params: &Params) -> Vec<Pin> {
        repos(params).map(|repo| pin(&repo, &params.dataset_revision)).collect()
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = wrong_ids("dataset_name", &params.dataset_name);
        problems.extend(wrong_patterns("data_files", &params.data_files));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let mut splits = Splits { limit: params.max_samples, written: Vec::new() };
        for repo in repos(&params) {
            let wanted = |files: &[RemoteFile]| choose(files, &repo, &params);
            for (name, path) in fetch(&repo, wanted, context)? {
                let output = context.output("dataset")?.to_path_buf();
                splits.add(&path, split_of(&name), &output)?;
            }
        }
        Ok(())
    }
}

fn repos(params: &Params) -> impl Iterator<Item = Repo> {
    params.dataset_name.iter().map(|id| Repo { kind: RepoKind::Dataset, id: id.clone() })
}

fn choose(files: &[RemoteFile], repo: &Repo, params: &Params) -> Result<Vec<RemoteFile>, StageError> {
    let last =
        |name: &str| name.rsplit('/').next().is_some_and(|last| NO_ROWS.contains(&last) || last.starts_with('.'));
    let like = |patterns: &[String]| -> Vec<RemoteFile> {
        files.iter().filter(|file| matches(patterns, &file.name) && !last(&file.name)).cloned().collect()
    };
    let asked = if params.data_files.is_empty() {
        FORMS.map(|form| vec![form.into()]).to_vec()
    } else {
        vec![params.data_files.clone()]
    };
    if let Some(chosen) = asked.iter().map(|patterns| like(patterns)).find(|chosen| !chosen.is_empty()) {
        return Ok(chosen);
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).take(20).collect();
    let (id, patterns, names) = (&repo.id, asked.concat().join(", "), names.join(", "));
    Err(StageError::failed(format!("`{id}` has no files like {patterns} (`data_files`); it has {names}")))
}

/// By a whole word of the path.
fn split_of(name: &str) -> &'static str {
    let has = |split: &str| name.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word == split);
    match name {
        _ if has("test") => "test",
        _ if ["validation", "valid", "val", "dev"].into_iter().any(has) => "validation",
        _ => "train",
    }
}

/// The splits of the output.
struct Splits {
    limit: u64,
    /// How many rows each has.
    written: Vec<(&'static str, u64)>,
}

impl Splits {
    /// Adds the rows of a file to a split.
    fn add(&mut self, from: &Path, split: &'static str, folder: &Path) -> Result<(), StageError> {
        let path = folder.join(format!("{split}.jsonl"));
        let mut file = File::options().create(true).append(true).open(&path).map_err(StageError::io(&path))?;
        let mut out = std::io::BufWriter::new(&mut file);
        let at = self.written.iter().position(|(name, _)| *name == split).unwrap_or_else(|| {
            self.written.push((split, 0));
            self.written.len() - 1
        });
        let (limit, count) = (self.limit, &mut self.written[at].1);
        let mut write = |row: Row| {
            if limit > 0 && *count == limit {
                return Ok(ControlFlow::Break(()));
            }
            *count += 1;
            let line = serde_json::to_string(&row).map_err(StageError::failed)?;
            writeln!(out, "{line}").map_err(StageError::io(&path))?;
            Ok(ControlFlow::Continue(()))
        };
        match !gazal_data::rows::is_parquet(from) && list::begins(from)? {
            true => list::each(from, &mut write)?,
            false => {
                for row in gazal_data::rows::read::<Row>(from).map_err(StageError::failed)? {
                    if write(row.map_err(StageError::failed)?)?.is_break() {
                        break;
                    }
                }
            }
        }
        out.flush().map_err(StageError::io(&path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_file_is_of_the_split_that_its_path_names() {
        for (name, split) in [
            ("data/train-00000-of-00002.jsonl", "train"),
            ("test.json", "test"),
            ("en/dev.jsonl", "validation"),
            ("validation/0.jsonl", "validation"),
            ("latest.jsonl", "train"),
            ("medical_o1_sft.json", "train"),
        ] {
            assert_eq!(split_of(name), split, "{name}");
        }
    }
}
