//! What is done to a tensor, with every number resolved.

/// How a tensor's sources become one tensor. Equations and papers stand in the files of `arithmetic`.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The sum of the sources by weight, divided by the sum of the weights if `normalize`.
    Linear { weights: Vec<f64>, normalize: bool },
    /// From the base to the source, a share `t` of the way along the sphere; the whole tensors are vectors.
    Slerp { t: f64 },
    /// From the first source to the second, or between their differences from the base where there is one.
    Nuslerp { t: f64, along: Along },
    /// The base and what the sources differ from it.
    TaskVectors(TaskVectors),
    /// From the base to the mean of the sources, as far as their differences agree in direction; row by row if
    /// `filter_wise`.
    ModelStock { filter_wise: bool },
    /// The source itself.
    Copy { scale: Option<f64> },
}

/// What is a vector for `nuslerp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// The whole tensor.
    Whole,
    /// Its last dimension: each row of a matrix.
    Last,
    /// Its first dimension: each column of a matrix.
    First,
}

/// `base + lambda · merged differences`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskVectors {
    /// One for each source.
    pub parts: Vec<Part>,
    /// How signs are elected; without, differences are summed as they are.
    pub election: Option<Election>,
    /// The sum is divided by the weights that went into it.
    pub normalize: bool,
    pub rescale: Rescale,
    pub lambda: f64,
}

/// What is taken of a source's differences from the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub weight: f64,
    pub keep: Keep,
}

/// Which of a tensor's `n` differences are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    All,
    /// The `density · n` of the largest magnitude.
    Largest {
        density: f64,
    },
    /// As many, below the `gamma · n` of the largest magnitude.
    Middle {
        density: f64,
        gamma: f64,
    },
    /// Each with a chance of `density`.
    Random {
        density: f64,
    },
}

/// The sign that a number's differences vote for; those of the other sign are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// mergekit's: weighted differences vote, and their sum is divided by the weights of those that agree.
    Weighted,
    /// PEFT's: unweighted differences vote, and the sum of the weighted is divided by the number of those that agree.
    Peft,
}

/// By what the kept differences are multiplied to make up for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescale {
    None,
    /// What gives them the sum of magnitudes that all had (mergekit's).
    Norm,
    /// `1 / density`, which keeps each number's expectation (DARE's paper).
    Density,
}
