//! Targets on the command line: a stage, all points of a matrix, some of them, and what they need.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Mistake, Origin};
use crate::reference::Directory;
use crate::{OutputRef, Pipeline, Stage};

impl Pipeline {
    /// The stages that `targets` name and all that they need, in the order of [`Pipeline::stages`]; every stage
    /// when there are no targets.
    ///
    /// # Errors
    /// A target that names no stage, with the nearest name.
    pub fn select(&self, targets: &[String]) -> Result<Vec<usize>, Diagnostic> {
        if targets.is_empty() {
            return Ok((0..self.stages.len()).collect());
        }
        let mut wanted = BTreeSet::new();
        for target in targets {
            wanted.extend(self.find(target)?);
        }
        let mut waiting: Vec<usize> = wanted.iter().copied().collect();
        while let Some(stage) = waiting.pop() {
            waiting.extend(self.stages[stage].needed().map(|output| output.stage).filter(|&need| wanted.insert(need)));
        }
        Ok(wanted.into_iter().collect())
    }

    /// The stages that one name means: `sft`, `cell` with all its points, `cell@group=1` with some.
    ///
    /// # Errors
    /// A name that no stage has, with the nearest one.
    pub fn find(&self, name: &str) -> Result<Vec<usize>, Diagnostic> {
        let mut directory = Directory::default();
        self.disabled.iter().for_each(|base| directory.disabled(base));
        self.stages.iter().for_each(|stage| directory.add(&stage.base, &stage.matrix));
        let wrong = |mistake: Mistake| Diagnostic {
            help: mistake.help,
            ..Diagnostic::error(&Origin::Argument(name.into()), mistake.message)
        };
        let found = directory.find(name).map_err(wrong)?;
        match found.output {
            None => Ok(found.points),
            Some(output) => Err(wrong(Mistake {
                message: format!("`{name}` is an output, not a stage"),
                help: Some(format!("leave out `.{output}`")),
            })),
        }
    }
}

impl Stage {
    /// All outputs that this stage reads, port by port.
    pub fn needed(&self) -> impl Iterator<Item = &OutputRef> {
        self.inputs.iter().flat_map(|input| input.from.iter())
    }
}
