//! The command line over the engine: arguments, progress, reports, exit codes. The one place that prints.
//!
//! A binary with stage kinds of its own calls [`main_with`] with them, or [`main_with_devices`] where it also
//! computes on devices that this project does not know; its workers are the same binary.

mod args;
mod cache;
mod check;
mod complete;
mod devices;
mod diff;
mod explain;
mod failure;
mod get;
mod graph;
mod init;
mod kinds;
mod lock;
mod log;
mod machine;
mod model;
mod out;
mod page;
mod plan;
mod plan_file;
mod preview;
mod progress;
mod report;
mod run;
mod runs;
mod status;
mod trace;
mod watch;
mod words;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use gazal_engine::kinds::builtin;
use gazal_stage_api::Kinds;

use args::{Args, RunsVerb, Verb, WorkerArgs};
pub use devices::{DeviceReport, Devices};
pub use failure::Exit;
use failure::Failure;
use out::Out;

/// The program with these stage kinds besides `source` and `exec`, on the devices that [`Devices::default`] finds.
pub fn main_with(kinds: Kinds) -> ExitCode {
    main_with_devices(kinds, Devices::default())
}

/// The program with these stage kinds and devices.
#[allow(clippy::needless_pass_by_value, reason = "the program owns what it is made of")]
pub fn main_with_devices(kinds: Kinds, devices: Devices) -> ExitCode {
    let app = App { kinds: all_kinds(&kinds), devices };
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Wrong.into() } else { Exit::Done.into() };
        }
    };
    let mut out = Out::new(args.json, args.quiet);
    match app.dispatch(&args, &mut out) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit.into()
        }
    }
}

/// `source` and `exec` first; a kind of the same name replaces them.
fn all_kinds(own: &Kinds) -> Kinds {
    let builtin = builtin().into_iter().filter(|kind| own.get(kind.name()).is_none());
    Kinds::new(builtin.chain(own.iter()).collect())
}

/// What the binary is made of.
pub(crate) struct App {
    pub kinds: Kinds,
    pub devices: Devices,
}

impl App {
    fn work(&self, verb: &WorkerArgs) -> Result<Exit, Failure> {
        let fine = match (&verb.request, &verb.events) {
            (Some(request), Some(events)) => gazal_engine::job_worker_main(&self.kinds, request, verb.line, events)
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?,
            _ => gazal_engine::worker_main(&self.kinds),
        };
        Ok(if fine { Exit::Done } else { Exit::Failed })
    }

    fn guard() -> Result<Exit, Failure> {
        let ended = std::env::current_exe().and_then(|program| gazal_engine::guard_main(&program));
        let status = ended.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(if status.success() { Exit::Done } else { Exit::Failed })
    }

    fn dispatch(&self, args: &Args, out: &mut Out) -> Result<Exit, Failure> {
        match &args.verb {
            Verb::Run(verb) => run::run(self, args, verb, out),
            Verb::Plan(verb) => plan::plan(self, args, verb, out),
            Verb::Preview(verb) => preview::preview(self, args, verb, out),
            Verb::Watch(verb) => watch::watch(self, args, verb, out),
            Verb::Diff { a, b } => diff::diff(args, a, b, out),
            Verb::Runs { verb: RunsVerb::Ls } => runs::list(args, out),
            Verb::Check(which) => check::check(self, args, which, out),
            Verb::Explain(which) => explain::explain(self, args, which, out),
            Verb::Graph(verb) => graph::graph(self, args, verb, out),
            Verb::Status(which) => status::status(self, args, which, out),
            Verb::Report(verb) => report::report(args, verb, out),
            Verb::Log(which) => log::log(self, args, which, out),
            Verb::Get(verb) => get::get(self, args, verb, out),
            Verb::Chat(verb) => model::chat(self, args, verb, out),
            Verb::Generate(verb) => model::generate(self, args, verb, out),
            Verb::Tokens(verb) => model::tokens(self, args, verb, out),
            Verb::Serve(verb) => model::serve(self, args, verb, out),
            Verb::Kinds { name } => kinds::kinds(self, name.as_deref(), out),
            Verb::Doctor => devices::doctor(self, args, out),
            Verb::Schema => {
                out.value(&gazal_spec::schema(&self.kinds));
                Ok(Exit::Done)
            }
            Verb::Init { folder } => init::init(folder, out),
            Verb::Cache { verb } => cache::cache(self, args, verb, out),
            Verb::Completions { shell } => complete::completions(*shell),
            Verb::Man => complete::manual(),
            Verb::Worker(verb) => self.work(verb),
            Verb::Guard => App::guard(),
            Verb::Probe { backend } => devices::probe(&self.devices, backend, out),
        }
    }
}
