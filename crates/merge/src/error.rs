/// One thing that is wrong with a configuration, or with the models that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A place in the configuration (`models[1].parameters.weight`), or a tensor of the result; empty when it is
    /// about the whole.
    pub place: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { place: place.into(), message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => formatter.write_str(&self.message),
            place => write!(formatter, "{place}: {}", self.message),
        }
    }
}

/// Why models cannot be merged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("this is no YAML: {0}")]
    Yaml(String),
    /// All that is wrong with the configuration.
    #[error("{}", listed(.0))]
    Config(Vec<Problem>),
    /// All that is wrong with these models under this configuration.
    #[error("{}", listed(.0))]
    Plan(Vec<Problem>),
    /// The numbers that were passed are not those of the planned tensor: a mistake of the caller.
    #[error("tensor `{tensor}`: {message}")]
    Inputs { tensor: String, message: String },
    /// What keeps a source from being read or the result from being written.
    #[error("tensor `{tensor}`: {message}")]
    Access { tensor: String, message: String },
    #[error(
        "tensor `{tensor}` of `{model}` has {value} at index {index}; a merge would spread it, \
         so look for how that checkpoint was made"
    )]
    NotFinite { model: String, tensor: String, index: usize, value: String },
    #[error("tensor `{tensor}`: the merged number at index {index} is too large for float32; take smaller weights")]
    Overflow { tensor: String, index: usize },
    #[error("tokenizer of `{model}`: {message}")]
    Tokenizer { model: String, message: String },
}

/// As many problems as a person reads; thousands of tensors can have the same one.
const SHOWN: usize = 12;

fn listed(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(SHOWN).map(Problem::to_string).collect();
    if problems.len() > SHOWN {
        lines.push(format!("and {} more like these", problems.len() - SHOWN));
    }
    lines.join("\n")
}
