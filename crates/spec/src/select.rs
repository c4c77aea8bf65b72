//! What a person names on the command line: stages, matrix points, and what lies before and behind them.
//!
//! `sft` is a stage with all its points, `cell@group=1` some points. `sft+` adds everything that needs it, `+sft` makes
//! everything that it needs a target of its own, so that its bytes are there afterwards even where nothing has to run.
//! `--from` and `--until` keep what lies behind the one and before the other; both stand for themselves too.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Mistake, Origin};
use crate::reference::Directory;
use crate::{OutputRef, Pipeline, Stage};

/// A selection as it was asked for; empty for the whole pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub words: Vec<String>,
    pub from: Vec<String>,
    pub until: Vec<String>,
    /// Nothing but the targets: what they need must be there.
    pub single: bool,
}

/// The stages of a selection, each list in the order of [`Pipeline::stages`].
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// What was asked for: their results must be there afterwards.
    pub targets: Vec<usize>,
    /// With all that they need.
    pub all: Vec<usize>,
}

impl Wanted {
    /// The words alone.
    pub fn words(words: &[String]) -> Wanted {
        Wanted { words: words.to_vec(), ..Wanted::default() }
    }
}

impl Pipeline {
    /// The stages that are asked for.
    ///
    /// # Errors
    /// A name that no stage has, with the nearest one; a selection that holds nothing.
    pub fn select(&self, wanted: &Wanted) -> Result<Selected, Diagnostic> {
        let everything: BTreeSet<usize> = (0..self.stages.len()).collect();
        let mut targets = match wanted.words.is_empty() {
            true => everything,
            false => self.find_each(&wanted.words, |word| self.find_word(word))?,
        };
        if !wanted.from.is_empty() {
            let behind = self.behind(self.find_each(&wanted.from, |name| self.find(name))?);
            targets.retain(|stage| behind.contains(stage));
        }
        if !wanted.until.is_empty() {
            let before = self.before(self.find_each(&wanted.until, |name| self.find(name))?);
            targets.retain(|stage| before.contains(stage));
        }
        targets.retain(|&stage| !self.stages[stage].is_service);
        if targets.is_empty() {
            let help = Some("leave out `--from` or `--until`, or name another stage".to_string());
            return Err(wrong("", Mistake { message: "no stage is selected".into(), help }));
        }
        let all = self.before(targets.clone()).into_iter().collect();
        Ok(Selected { targets: targets.into_iter().collect(), all })
    }

    /// The stages that one name means: `sft`, `cell` with all its points, `cell@group=1` with some.
    ///
    /// # Errors
    /// A name that no stage has, with the nearest one.
    pub fn find(&self, name: &str) -> Result<Vec<usize>, Diagnostic> {
        let mut directory = Directory::default();
        self.disabled.iter().for_each(|base| directory.disabled(base));
        self.stages.iter().for_each(|stage| directory.add(&stage.base, &stage.matrix));
        let found = directory.find(name).map_err(|mistake| wrong(name, mistake))?;
        if let Some(output) = found.output {
            let help = Some(format!("leave out `.{output}`"));
            return Err(wrong(name, Mistake { message: format!("`{name}` is an output, not a stage"), help }));
        }
        match found.points.iter().find(|&&stage| self.stages[stage].is_service) {
            Some(_) => {
                let help = Some("name the stage that it serves".to_string());
                Err(wrong(
                    name,
                    Mistake { message: format!("`{name}` serves other stages and never runs alone"), help },
                ))
            }
            None => Ok(found.points),
        }
    }

    /// `sft`, `sft+` or `+sft`.
    fn find_word(&self, word: &str) -> Result<Vec<usize>, Diagnostic> {
        let (name, before) = word.strip_prefix('+').map_or((word, false), |name| (name, true));
        let (name, behind) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
        let named: BTreeSet<usize> = self.find(name)?.into_iter().collect();
        let mut found = named.clone();
        if before {
            found.extend(self.before(named.clone()));
        }
        if behind {
            found.extend(self.behind(named));
        }
        Ok(found.into_iter().collect())
    }

    fn find_each(
        &self,
        names: &[String],
        find: impl Fn(&str) -> Result<Vec<usize>, Diagnostic>,
    ) -> Result<BTreeSet<usize>, Diagnostic> {
        let mut found = BTreeSet::new();
        for name in names {
            found.extend(find(name)?);
        }
        Ok(found)
    }

    /// These stages and all that they need.
    fn before(&self, mut stages: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut waiting: Vec<usize> = stages.iter().copied().collect();
        while let Some(stage) = waiting.pop() {
            waiting.extend(self.needs(stage).filter(|&need| stages.insert(need)));
        }
        stages
    }

    /// These stages and all that need them. Stages come after what they need, so once through is enough.
    fn behind(&self, mut stages: BTreeSet<usize>) -> BTreeSet<usize> {
        for stage in 0..self.stages.len() {
            if self.needs(stage).any(|need| stages.contains(&need)) {
                stages.insert(stage);
            }
        }
        stages
    }

    /// Every stage that must be done before the one at `stage` is looked at: those that it reads, those whose metrics
    /// its conditions read, and the one that serves it.
    pub fn needs(&self, stage: usize) -> impl Iterator<Item = usize> + '_ {
        let own = &self.stages[stage];
        let read = own.reads().map(|output| output.stage);
        let judged = own.when.iter().chain(&own.gates).flat_map(|condition| condition.stages());
        read.chain(judged.filter(move |&other| other != stage)).chain(own.service)
    }
}

impl Stage {
    /// All outputs that this stage reads, port by port.
    pub fn reads(&self) -> impl Iterator<Item = &OutputRef> {
        self.inputs.iter().flat_map(|input| input.from.iter())
    }
}

fn wrong(argument: &str, mistake: Mistake) -> Diagnostic {
    let origin = if argument.is_empty() { Origin::Nowhere } else { Origin::argument(argument) };
    Diagnostic { help: mistake.help, ..Diagnostic::error(&origin, mistake.message) }
}
