//! Models with different tokenizers: one vocabulary for all, and rows of embeddings in its order.
//!
//! As in mergekit, a token that a model has not got is given its row by the base if that has one, else it gets the
//! mean of the rows of those models that have it; a row that is no token's is 0. Embeddings have as many rows as the
//! new tokenizer needs: rows that models keep for no token (Qwen has 267 of them) are gone.

mod tokenizer;
mod union;

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::Value;

use crate::error::MergeError;
use crate::recipe::TokenizerSource;

/// A model with its tokenizer.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// As in the configuration.
    pub model: &'a str,
    /// Its `tokenizer.json`.
    pub tokenizer: &'a Value,
    /// The rows of its embeddings; a token of a higher number is one that the model has not got.
    pub rows: usize,
}

/// The vocabulary of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    tokenizer: Value,
    base: String,
    rows: usize,
    /// Of each model: for each new row the old one.
    maps: HashMap<String, Vec<Option<usize>>>,
}

impl Vocabulary {
    /// Makes the vocabulary that a recipe asks for. The members are its models ([`crate::Recipe::models`]), of which
    /// `base` is one ([`crate::Recipe::base`]).
    ///
    /// # Errors
    /// A file that is no tokenizer, one with more tokens than its model has rows where it is the result's, or
    /// tokenizers that cannot be united.
    pub fn new(source: &TokenizerSource, base: &str, members: &[Member<'_>]) -> Result<Vocabulary, MergeError> {
        let named = |name: &str| {
            let missing = || refused(name, "it is not among the models that were given");
            members.iter().find(|member| member.model == name).ok_or_else(missing)
        };
        let chosen = named(match source {
            TokenizerSource::Base | TokenizerSource::Union => base,
            TokenizerSource::Model(model) => model,
        })?;
        has_rows(chosen)?;
        let tokenizer = match source {
            TokenizerSource::Union => union::unite(chosen, members)?,
            TokenizerSource::Base | TokenizerSource::Model(_) => chosen.tokenizer.clone(),
        };
        let new = tokenizer::tokens(&tokenizer).map_err(|message| refused(chosen.model, &message))?;
        let rows = new.iter().map(|(_, id)| id + 1).max().unwrap_or_default();
        let maps = members.iter().map(|member| Ok((member.model.to_string(), map(member, &new, rows)?)));
        let maps = maps.collect::<Result<_, MergeError>>()?;
        Ok(Vocabulary { tokenizer, base: base.into(), rows, maps })
    }

    /// The `tokenizer.json` of the result.
    pub fn tokenizer(&self) -> &Value {
        &self.tokenizer
    }

    /// How many rows embeddings get (`vocab_size`).
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// For each new row the old one of a model, if it has one.
    pub fn map(&self, model: &str) -> Option<&[Option<usize>]> {
        self.maps.get(model).map(Vec::as_slice)
    }

    /// Whether a model's embeddings of so many rows are in order as they are.
    pub fn is_order_of(&self, model: &str, rows: usize) -> bool {
        let in_place = |(row, old): (usize, &Option<usize>)| *old == Some(row);
        rows == self.rows && self.map(model).is_some_and(|map| map.iter().enumerate().all(in_place))
    }

    /// A model's rows in the new order, `[len, width]`, from all sources' rows of one tensor (each with its model's
    /// name, the base's among them if it is a source).
    ///
    /// # Errors
    /// A model that the vocabulary was not made for, or a tensor with fewer rows than its tokenizer needs.
    pub fn rows(&self, model: &str, embeddings: &[(&str, &[f32])], width: usize) -> Result<Vec<f32>, MergeError> {
        let mut tables = Vec::with_capacity(embeddings.len());
        for (name, numbers) in embeddings {
            let map = self.map(name).ok_or_else(|| refused(name, "it was not given with the others"))?;
            let needed = map.iter().flatten().max().map_or(0, |last| (last + 1) * width);
            if numbers.len() < needed {
                let rows = numbers.len() / width.max(1);
                return Err(refused(name, &format!("a tensor has only {rows} rows, and its tokens need more")));
            }
            tables.push(Table { model: name, map, numbers, width });
        }
        let own = tables.iter().position(|table| table.model == model);
        let own = own.ok_or_else(|| refused(model, "its own rows are not among those that were given"))?;
        let base = tables.iter().position(|table| table.model == self.base);
        let donors: Vec<&Table> = [own].into_iter().chain(base).filter_map(|at| tables.get(at)).collect();
        let mut rows = vec![0.0; self.rows * width];
        rows.par_chunks_mut(width.max(1)).enumerate().for_each(|(id, row)| {
            match donors.iter().find_map(|table| table.row(id)) {
                Some(found) => row.copy_from_slice(found),
                None => mean(&tables, id, row),
            }
        });
        Ok(rows)
    }
}

/// A tensor whose rows are a model's tokens.
struct Table<'a> {
    model: &'a str,
    map: &'a [Option<usize>],
    numbers: &'a [f32],
    width: usize,
}

impl<'a> Table<'a> {
    fn row(&self, id: usize) -> Option<&'a [f32]> {
        let start = self.map.get(id).copied().flatten()? * self.width;
        self.numbers.get(start..start + self.width)
    }
}

/// Of the rows of those who have one; left at 0 where nobody has.
fn mean(tables: &[Table<'_>], id: usize, row: &mut [f32]) {
    let found: Vec<&[f32]> = tables.iter().filter_map(|table| table.row(id)).collect();
    if found.is_empty() {
        return;
    }
    for (at, number) in row.iter_mut().enumerate() {
        let sum: f64 = found.iter().filter_map(|row| row.get(at)).map(|number| f64::from(*number)).sum();
        *number = (sum / found.len() as f64) as f32;
    }
}

/// A member's old row for each new one.
fn map(member: &Member<'_>, new: &[(String, usize)], rows: usize) -> Result<Vec<Option<usize>>, MergeError> {
    let tokens = tokenizer::tokens(member.tokenizer).map_err(|message| refused(member.model, &message))?;
    let old: HashMap<String, usize> = tokens.into_iter().filter(|(_, id)| *id < member.rows).collect();
    let mut map = vec![None; rows];
    for (token, id) in new {
        if let Some(place) = map.get_mut(*id) {
            *place = old.get(token).copied();
        }
    }
    Ok(map)
}

/// The result's tokenizer must not name a row that there is not.
fn has_rows(member: &Member<'_>) -> Result<(), MergeError> {
    let tokens = tokenizer::tokens(member.tokenizer).map_err(|message| refused(member.model, &message))?;
    match tokens.iter().find(|(_, id)| *id >= member.rows) {
        Some((token, id)) => {
            let message = format!(
                "token {token:?} is number {id}, but the embeddings have {} rows; take it out of tokenizer.json, or \
                 name another `tokenizer_source`",
                member.rows
            );
            Err(refused(member.model, &message))
        }
        None => Ok(()),
    }
}

fn refused(model: &str, message: &str) -> MergeError {
    MergeError::Tokenizer { model: model.into(), message: message.into() }
}
