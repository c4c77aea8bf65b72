//! What says how the records of a set of images are to be read: `images.json` beside them.

use serde::{Deserialize, Serialize};

/// The name of the file. A folder without it has the records of CIFAR-10, whose publishers' files have none.
pub const FILE: &str = "images.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What metrics and samples call the set.
    pub name: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub classes: usize,
    /// The number that stands for full brightness.
    pub highest: u8,
}

impl Description {
    pub fn cifar10() -> Description {
        Description { name: "cifar10".into(), channels: 3, height: 32, width: 32, classes: 10, highest: 255 }
    }

    /// Bytes of an image.
    pub fn pixels(&self) -> usize {
        self.channels * self.height * self.width
    }
}
