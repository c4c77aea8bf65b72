#![allow(clippy::unwrap_used)]

mod data;
mod estimates;
mod outcomes;
mod representation;
