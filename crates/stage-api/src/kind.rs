use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Context, Declared, Forecast, Foresight, InPort, JsonSchema, OutPort, Problem, Server, StageError, params};

/// What the engine must know of a kind before it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// The seed is part of the key and given to `run`.
    pub seeded: bool,
    /// Runs on a backend: backend class, precision and the numerics tag are part of the key.
    pub computes: bool,
    /// May open network connections.
    pub network: bool,
    /// May ask and keep answers in the memo.
    pub memo: bool,
    /// May read secrets from environment variables.
    pub secrets: bool,
    /// May run programs; its worker then has a guard that ends what it leaves behind.
    pub programs: bool,
    /// Its program can serve another stage as long as that runs; see `service` of a stage.
    pub serves: bool,
    /// Parameters that may change records only, or that [`Kind::pins`] stands for; left out of the key.
    pub unkeyed: &'static [&'static str],
    /// Parameters that are paths (strings or lists of glob patterns), relative to the pipeline file; the key
    /// holds the digest of what they point at. `list[].field` are those of all tables in a list, together.
    pub paths: &'static [&'static str],
    /// A change of what this kind computes that the revision cannot see, such as the version of a framework.
    pub numerics: &'static str,
}

impl Traits {
    /// A pure function of parameters and inputs.
    pub const PLAIN: Traits = Traits {
        seeded: false,
        computes: false,
        network: false,
        memo: false,
        secrets: false,
        programs: false,
        serves: false,
        unkeyed: &[],
        paths: &[],
        numerics: "",
    };
    /// Depends on the seed too.
    pub const SEEDED: Traits = Traits { seeded: true, ..Traits::PLAIN };
}

/// Something outside that moves, such as a branch of a repository on the hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// `models/Qwen/Qwen3-0.6B`
    pub what: String,
    /// `main`
    pub revision: String,
}

/// A stage kind, typed. Adding one is a folder with this implementation and a line in the list of kinds.
pub trait Kind: Send + Sync + 'static {
    /// Spelled as TRL and PEFT spell them; `deny_unknown_fields`, with a default for all that has one.
    type Params: Serialize + DeserializeOwned + JsonSchema;

    /// The name in pipeline files, e.g. `sft`.
    const NAME: &'static str;
    /// Raised by hand when outputs would change for equal inputs.
    const REVISION: u32;
    /// One line for `gazal-pipe kinds`.
    const DOC: &'static str;
    const TRAITS: Traits;

    fn inputs(&self, params: &Self::Params, declared: &Declared) -> Vec<InPort>;

    fn outputs(&self, params: &Self::Params, declared: &Declared) -> Vec<OutPort>;

    /// Mistakes that types cannot express: ranges, divisibility, things that exclude each other.
    fn validate(&self, _params: &Self::Params) -> Vec<Problem> {
        Vec::new()
    }

    /// Parameters that mean nothing beside the inputs that a stage has.
    fn misplaced(&self, _params: &Self::Params, _inputs: &[&str]) -> Vec<Problem> {
        Vec::new()
    }

    /// What it reads of the world outside of pipeline and store, which moves: the key holds what it was pinned to.
    fn pins(&self, _params: &Self::Params) -> Vec<Pin> {
        Vec::new()
    }

    /// Something that this kind cannot do yet with these parameters, said before anything runs.
    fn unavailable(&self, _params: &Self::Params) -> Option<String> {
        None
    }

    /// What an execution will take and make, for a plan. Of actions of the past it is asked with no inputs.
    fn forecast(&self, _params: &Self::Params, _inputs: &Foresight) -> Forecast {
        Forecast::default()
    }

    /// The function itself.
    ///
    /// # Errors
    /// [`StageError::Cancelled`] after a checkpoint when the context says so; everything else fails the stage.
    fn run(&self, params: Self::Params, context: &mut Context) -> Result<(), StageError>;

    /// Begins to serve another stage, for kinds whose traits say that they do; returns when it can be asked.
    ///
    /// # Errors
    /// When it does not come up.
    fn serve(&self, _params: Self::Params, _context: &mut Context) -> Result<Box<dyn Server>, StageError> {
        Err(StageError::failed(format!("the kind `{}` does not serve", Self::NAME)))
    }
}

/// [`Kind`] with its parameter type erased: tables in, problems out.
pub trait DynKind: Send + Sync {
    fn name(&self) -> &'static str;
    fn revision(&self) -> u32;
    fn doc(&self) -> &'static str;
    fn traits(&self) -> Traits;
    /// The JSON Schema of the parameters.
    fn schema(&self) -> Value;
    /// Parses and validates the parameters of a stage with these inputs; all problems at once.
    fn check(&self, table: &Map<String, Value>, inputs: &[&str]) -> Vec<Problem>;
    /// See [`params::canonical`]; unkeyed parameters are left out too.
    fn canonical(&self, table: &Map<String, Value>) -> Result<Map<String, Value>, Problem>;
    fn inputs(&self, table: &Map<String, Value>, declared: &Declared) -> Result<Vec<InPort>, Problem>;
    fn outputs(&self, table: &Map<String, Value>, declared: &Declared) -> Result<Vec<OutPort>, Problem>;
    /// None for a table that cannot be read, which [`DynKind::check`] says.
    fn pins(&self, table: &Map<String, Value>) -> Vec<Pin>;
    fn unavailable(&self, table: &Map<String, Value>) -> Option<String>;
    /// Nothing for a table that cannot be read.
    fn forecast(&self, table: &Map<String, Value>, inputs: &Foresight) -> Forecast;
    fn run(&self, table: &Map<String, Value>, context: &mut Context) -> Result<(), StageError>;
    fn serve(&self, table: &Map<String, Value>, context: &mut Context) -> Result<Box<dyn Server>, StageError>;
}

impl<K: Kind> DynKind for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn revision(&self) -> u32 {
        K::REVISION
    }

    fn doc(&self) -> &'static str {
        K::DOC
    }

    fn traits(&self) -> Traits {
        K::TRAITS
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(K::Params).to_value()
    }

    fn check(&self, table: &Map<String, Value>, inputs: &[&str]) -> Vec<Problem> {
        match params::parse::<K::Params>(table) {
            Ok(parsed) => [self.validate(&parsed), self.misplaced(&parsed, inputs)].concat(),
            Err(problem) => vec![problem],
        }
    }

    fn canonical(&self, table: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
        let mut kept = params::canonical::<K::Params>(table)?;
        for name in K::TRAITS.unkeyed {
            kept.remove(*name);
        }
        Ok(kept)
    }

    fn inputs(&self, table: &Map<String, Value>, declared: &Declared) -> Result<Vec<InPort>, Problem> {
        Ok(Kind::inputs(self, &params::parse(table)?, declared))
    }

    fn outputs(&self, table: &Map<String, Value>, declared: &Declared) -> Result<Vec<OutPort>, Problem> {
        Ok(Kind::outputs(self, &params::parse(table)?, declared))
    }

    fn pins(&self, table: &Map<String, Value>) -> Vec<Pin> {
        params::parse(table).map(|params| Kind::pins(self, &params)).unwrap_or_default()
    }

    fn unavailable(&self, table: &Map<String, Value>) -> Option<String> {
        Kind::unavailable(self, &params::parse(table).ok()?)
    }

    fn forecast(&self, table: &Map<String, Value>, inputs: &Foresight) -> Forecast {
        params::parse(table).map(|params| Kind::forecast(self, &params, inputs)).unwrap_or_default()
    }

    fn run(&self, table: &Map<String, Value>, context: &mut Context) -> Result<(), StageError> {
        Kind::run(self, parsed::<K>(table)?, context)
    }

    fn serve(&self, table: &Map<String, Value>, context: &mut Context) -> Result<Box<dyn Server>, StageError> {
        Kind::serve(self, parsed::<K>(table)?, context)
    }
}

fn parsed<K: Kind>(table: &Map<String, Value>) -> Result<K::Params, StageError> {
    params::parse(table).map_err(|problem| StageError::Params(problem.field, problem.message))
}

/// The kinds that a binary knows, in the order in which they were given.
#[derive(Clone, Default)]
pub struct Kinds(Vec<&'static dyn DynKind>);

impl Kinds {
    pub fn new(kinds: Vec<&'static dyn DynKind>) -> Kinds {
        Kinds(kinds)
    }

    pub fn get(&self, name: &str) -> Option<&'static dyn DynKind> {
        self.iter().find(|kind| kind.name() == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &'static dyn DynKind> + '_ {
        self.0.iter().copied()
    }
}
