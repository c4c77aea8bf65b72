//! The real program, driven from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod arrows;
mod crash;
mod examples;
mod family;
mod hub;
mod images;
mod keys;
mod learning;
mod mistakes;
mod model;
mod powercut;
mod process;
mod remote;
mod report;
mod rewards;
mod road;
mod shape;
mod space;
mod store;
mod symmetry;
mod teaching;
mod upstream;
mod watch;
