//! Memory planned before the run: what a training takes at its peak, from shapes, before any weight of it is read.
//!
//! An estimate is at least what is needed: a run that is refused could not have come to its end. So what a clever kernel
//! may do without is not counted (attention's score matrices, vectors such as norms and biases, what an operation holds
//! for a moment), and neither is the program itself. Not everything is there at the same time; an estimate is that of the
//! worst moment:
//!
//! - at the end of a forward pass there are the activations of the micro-batches that run side by side, and the gradients
//!   of those before them;
//! - before an optimizer step there are the gradients of all micro-batches of the window, and no activations;
//! - while completions are sampled there are the weights twice, and the keys and values of all of them.
//!
//! How far off it is: see `crates/README.md`.

mod machine;
#[cfg(test)]
mod tests;
mod training;

use gazal_stage_api::{Backend, Context, Level, StageError};

pub use training::{Lengths, Rollout, Training, adapter_bytes, weight_bytes};

/// A part of an estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub name: &'static str,
    pub bytes: u64,
    /// What to change to make it smaller.
    pub remedy: &'static str,
}

/// What is in memory at one moment, at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate(pub Vec<Term>);

impl Estimate {
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, term| sum.saturating_add(term.bytes))
    }

    pub fn largest(&self) -> Option<&Term> {
        self.0.iter().max_by_key(|term| term.bytes)
    }

    /// The worst of several moments.
    pub fn worst(moments: impl IntoIterator<Item = Estimate>) -> Estimate {
        moments.into_iter().max_by_key(Estimate::total).unwrap_or_default()
    }
}

/// What a training needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whatever happens.
    pub least: Estimate,
    /// Where completions are as long as they may be; the same where nothing is left to chance.
    pub most: Estimate,
}

/// Says what a training needs, warns where it may come to need more than the machine has, and refuses it where it must.
///
/// # Errors
/// With the largest term, and what to change.
pub fn check(context: &mut Context, need: &Need) -> Result<(), StageError> {
    let backend = context.device.backend;
    context.say(Level::Info, format!("needs {}", said(need)));
    if backend != Backend::Cpu {
        context.say(
            Level::Info,
            format!("how much memory `{backend}` has is not known: the need is not compared with it"),
        );
        return Ok(());
    }
    let Some(available) = machine::available() else { return Ok(()) };
    if need.least.total() > available {
        return Err(refused(&need.least, available));
    }
    if need.most.total() > available {
        let remedy = need.most.largest().map_or("", |term| term.remedy);
        let text = format!("may come to need more memory than the {} that are available: {remedy}", human(available));
        context.say(Level::Warning, text);
    }
    Ok(())
}

fn said(need: &Need) -> String {
    let [least, most] = [&need.least, &need.most].map(|estimate| human(estimate.total()));
    let total = if need.least == need.most { format!("at least {least}") } else { format!("from {least} to {most}") };
    let largest = need
        .most
        .largest()
        .map_or_else(String::new, |term| format!(", most of it {} ({})", term.name, human(term.bytes)));
    format!("{total} of memory{largest}")
}

fn refused(needed: &Estimate, available: u64) -> StageError {
    let terms: Vec<String> = needed.0.iter().map(|term| format!("{} {}", term.name, human(term.bytes))).collect();
    let (name, remedy) = needed.largest().map_or(("", ""), |term| (term.name, term.remedy));
    StageError::failed(format!(
        "this training needs at least {} of memory, and {} are available. The largest part is {name}: {remedy}. All \
         parts: {}",
        human(needed.total()),
        human(available),
        terms.join(", ")
    ))
}

fn human(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= GIB => format!("{:.1} GiB", bytes / GIB),
        _ => format!("{:.1} MiB", bytes / MIB),
    }
}

const MIB: f64 = (1_u64 << 20) as f64;
const GIB: f64 = (1_u64 << 30) as f64;
