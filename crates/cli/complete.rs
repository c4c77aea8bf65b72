//! `completions` and `man`: what shells and people read of the command line, made from its own definition.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::failure::{Exit, Failure};

pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    clap_complete::generate(shell, &mut Args::command(), "gazal-pipe", &mut io::stdout());
    Ok(Exit::Done)
}

/// The manual page, with a section for each verb.
pub(crate) fn manual() -> Result<Exit, Failure> {
    let mut output = io::stdout().lock();
    let command = Args::command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect::<Vec<_>>();
    let written = clap_mangen::Man::new(command).render(&mut output).and_then(|()| {
        verbs.into_iter().try_for_each(|verb| {
            let name = format!("gazal-pipe {}", verb.get_name());
            let man = clap_mangen::Man::new(verb.bin_name(name));
            man.render_synopsis_section(&mut output)?;
            man.render_description_section(&mut output)?;
            man.render_options_section(&mut output)
        })
    });
    written.map(|()| Exit::Done).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}
