//! What was typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use gazal_store::{Mode, PublicKey};

use crate::model::{ChatArgs, GenerateArgs, ServeArgs, TokensArgs};

/// Turns a pipeline file into a trained, merged, evaluated model, and never does the same work twice.
#[derive(Debug, Parser)]
#[command(name = "gazal-pipe", version, about, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// The store [default: $GAZAL_STORE, else cache/ in the current folder].
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<PathBuf>,
    /// Results that others made: a folder, s3://BUCKET/PREFIX, gs://, az://, http(s):// [default: $GAZAL_REMOTE].
    #[arg(long, value_name = "URL", global = true)]
    pub remote: Option<String>,
    /// What the remote is used for: read, read-write, write, off [default: $GAZAL_REMOTE_MODE, else read].
    #[arg(long, value_name = "MODE", global = true)]
    pub remote_mode: Option<Mode>,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring a pipeline, or some of its stages, up to date.
    ///
    /// Stages are names: `sft`, `cell` with all its matrix points, `cell@group=1` with some. `sft+` adds all that needs
    /// it, `+sft` all that it needs. Without stages the whole pipeline is meant.
    Run(RunArgs),
    /// Show what a run would do, and why.
    Plan(PlanOut),
    /// Run a stage on its first rows and show what comes of them: preview FILE STAGE.
    ///
    /// For kinds with a parameter `limit`, such as `teach`. What a model answers is kept, so a run on all rows pays for
    /// the others only.
    Preview(PreviewArgs),
    /// Run, and again whenever the pipeline or a file that it reads changes.
    Watch(RunArgs),
    /// How two runs differ: parameters, inputs, metrics, time.
    Diff {
        /// Ids of runs, beginnings of them, or `last`.
        #[arg(value_name = "RUN_A")]
        a: String,
        #[arg(value_name = "RUN_B")]
        b: String,
    },
    /// List the runs of a store.
    Runs {
        #[command(subcommand)]
        verb: RunsVerb,
    },
    /// Look for mistakes without running anything.
    Check(Which),
    /// Why a stage will run, or why it last ran.
    Explain(Which),
    /// Print the graph of stages.
    Graph(GraphArgs),
    /// How the stages stand, and how the last run went.
    Status(Which),
    /// Write a page about a run: what ran, when, why, what it measured, and what came out of what.
    Report(ReportArgs),
    /// What happened in the last run, or the log of a stage.
    Log(Which),
    /// Copy an output out of the store: get FILE shout.out DIR.
    Get(GetArgs),
    /// Talk with a model.
    Chat(ChatArgs),
    /// Complete prompts.
    Generate(GenerateArgs),
    /// Show the tokens of a text, a prompt with its completion, or a conversation.
    Tokens(TokensArgs),
    /// Serve a model behind OpenAI's interface: /v1/chat/completions, /v1/completions, /v1/models.
    Serve(ServeArgs),
    /// List the stage kinds, or show the parameters of one.
    Kinds { name: Option<String> },
    /// What this machine has, and whether it computes correctly.
    Doctor,
    /// Print the JSON Schema of pipeline files, for editors.
    Schema,
    /// Write a small pipeline to start from.
    Init {
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Look after the store.
    Cache {
        #[command(subcommand)]
        verb: CacheVerb,
    },
    /// Print completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page.
    Man,
    #[command(hide = true)]
    Worker(WorkerArgs),
    #[command(hide = true)]
    Guard,
    #[command(hide = true)]
    Probe { backend: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsVerb {
    /// When they began, what they ran, how they ended.
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheVerb {
    /// How much lies in the store, and what is pinned.
    Ls,
    /// Read every byte, or a sample of the blobs, and say what is damaged.
    Verify {
        /// A share of the blobs, such as 0.1 [default: all].
        #[arg(long, value_name = "SHARE")]
        sample: Option<f64>,
        /// Which share; another one another time.
        #[arg(long, default_value_t = 0, requires = "sample")]
        seed: u64,
    },
    /// Give back the space of what nobody needs, and up to a limit of what is cheap to make again.
    Gc(GcArgs),
    /// Keep results of stages from being collected, under the name PIPELINE/STAGE.
    Pin(Which),
    /// Let go of a pin.
    Unpin { name: String },
    /// Remove results of stages, receipts included.
    Rm(Which),
    /// Write results of stages into one file: cache export FILE [STAGE...] --to BUNDLE.
    Export {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_name = "BUNDLE")]
        to: PathBuf,
    },
    /// Take in what `export` wrote.
    Import { bundle: PathBuf },
    /// Send results of stages to the remote.
    Push(Which),
    /// Fetch results of stages from the remote, with all their bytes.
    Pull(Which),
    /// Print the public key in whose name this store publishes, for `cache trust` elsewhere.
    Key,
    /// Accept what is published under a public key.
    Trust { name: String, key: PublicKey },
    /// Accept it no more.
    Distrust { name: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// How much the store may have afterwards, such as 20GiB [default: all that is needed].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// So many of the latest runs keep their results, beside the living ones.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub recent: usize,
    /// What nothing refers to goes when it is older than this.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1h")]
    pub grace: Duration,
    /// Remove all but so many of the latest runs' logs.
    #[arg(long, value_name = "N")]
    pub keep_runs: Option<usize>,
    /// Forget results whose bytes have been gone for so long.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub forget: Option<Duration>,
    /// Remove nothing, and say what would be.
    #[arg(long)]
    pub dry_run: bool,
}

fn size(text: &str) -> Result<u64, String> {
    gazal_spec::parse_bytes(text).ok_or_else(|| "a size is a number of bytes, or one with a unit: 20GiB".to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => gazal_spec::parse_duration(text).ok_or_else(|| "a time has a unit: 90s, 15min, 1h30m, 2d".to_string()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    pub which: Which,
    /// Rows to run it on.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: u64,
}

/// A pipeline and some of its stages, from a file or from a past run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// The pipeline file, then stages [all]; with --run only stages.
    #[arg(value_name = "FILE [STAGE]")]
    pub words: Vec<String>,
    /// A past run's id, the beginning of one, or `last`.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Apply a profile of the file; several apply in order.
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Set a value: stages.sft.params.learning_rate=2e-4.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The backend of a stage (sft=cuda:0) or of all (wgpu).
    #[arg(long, value_name = "[STAGE=]BACKEND")]
    pub backend: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub which: Which,
    /// Run a stage though its result is there.
    #[arg(long, value_name = "STAGE")]
    pub force: Vec<String>,
    /// Of the stages only this one and those behind it.
    #[arg(long, value_name = "STAGE")]
    pub from: Vec<String>,
    /// Of the stages only this one and those before it.
    #[arg(long, value_name = "STAGE")]
    pub until: Vec<String>,
    /// Nothing but the named stages: what they need must be there.
    #[arg(long)]
    pub single: bool,
}

/// What a job of a cluster is started with; a local worker hears its requests on standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long, value_name = "FILE", requires = "events")]
    pub request: Option<PathBuf>,
    /// The line of the request in its file.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub line: usize,
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlanOut {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Write the plan to a file, for `run --plan FILE`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Stages at once, at most [default: one for each CPU].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Run exactly what `plan --out FILE` said, or refuse where the world has moved since.
    #[arg(long = "plan", value_name = "FILE", conflicts_with_all = ["words", "run", "profile", "set", "backend", "force", "from", "until", "single"])]
    pub plan_file: Option<PathBuf>,
    /// Start nothing more after a failure [default: go on with what does not need it].
    #[arg(long)]
    pub fail_fast: bool,
    /// Go on after a failure with what does not need it: the default.
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
    /// Write a timeline for ui.perfetto.dev or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The pipeline file: its latest run is meant.
    pub file: Option<PathBuf>,
    /// A run's id, the beginning of one, or `last`.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Where to write it [default: report.html in the run's folder].
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub which: Which,
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Mermaid,
    Dot,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub which: Which,
    /// Puts the model card that the pipeline's report has made beside it, as `README.md`.
    #[arg(long)]
    pub with_card: bool,
}
