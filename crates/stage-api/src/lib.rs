//! The one contract between the engine half and the learning half: *a stage is a function from input
//! artifacts, parameters and a seed to output artifacts.*
//!
//! A stage kind implements [`Kind`]: its name, ports, parameter type and `run`. The engine sees it through
//! the object-safe [`DynKind`], and [`Kinds`] is the list that a binary knows.

mod context;
mod effects;
mod error;
mod forecast;
mod kind;
mod params;
mod port;

pub use context::{Backend, Context, DeviceRequest, Event, Folders, Level, Precision, Server};
pub use effects::{Effects, Memo, Program};
pub use error::StageError;
pub use forecast::{Asks, Forecast, Foreseen, Foresight};
pub use kind::{DynKind, Kind, Kinds, Pin, Traits};
pub use params::{Problem, canonical, lookup, parse};
pub use port::{Arity, Declared, InPort, OutPort, PortType, Role};
/// What kinds derive for their parameter types.
pub use schemars::{self, JsonSchema};
