//! A recipe laid out over models: the tensors of the result, and what each is made of.

mod layout;
mod names;
mod operation;
mod resolve;

pub use layout::plan;
pub use operation::{Along, Election, Keep, Operation, Part, Rescale, TaskVectors};

/// A model's tensors, as its checkpoint lists them.
#[derive(Clone, Debug)]
pub struct ModelTensors {
    /// As in the configuration.
    pub name: String,
    /// The number of its layers (`num_hidden_layers`).
    pub layers: usize,
    /// Names and shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
}

/// The result, tensor by tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What comes before the layers, the layers, what comes after them.
    pub tensors: Vec<PlannedTensor>,
    /// The number of its layers, which its configuration has to say.
    pub layers: usize,
    /// Whether its head is its embeddings (`tie_word_embeddings`): no source has a head of its own.
    pub tied: bool,
}

/// A tensor of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    /// Where its differences are taken from, for the operations that do so.
    pub base: Option<Source>,
    pub sources: Vec<Source>,
    pub operation: Operation,
    /// Its rows are tokens: before they are merged, those of each source are brought into the order of the new
    /// vocabulary, by [`crate::Vocabulary::rows`].
    pub vocabulary: bool,
}

/// A tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub model: String,
    pub tensor: String,
    pub shape: Vec<usize>,
}

impl PlannedTensor {
    /// The source whose numbers are the result's, where nothing has to be computed: its bytes can be copied.
    pub fn copied(&self) -> Option<&Source> {
        match self.operation {
            Operation::Copy { scale: None } if !self.vocabulary => self.sources.first(),
            _ => None,
        }
    }
}
