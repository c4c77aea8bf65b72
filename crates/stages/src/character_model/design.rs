//! Which parameters the character model has, without any tensor.
//!
//! It is the class `BigramLanguageModel` of the notebook `mingpt.ipynb` (github.com/AhmedMostafa16/EXAdam), a decoder
//! with characters as tokens: learned embeddings of characters and of positions, blocks of attention and of a
//! ReLU layer four times as wide, each after a norm and beside a residual stream, a last norm, and a head of its own.
//! Its heads are layers of their own, too: to an optimizer that looks at matrices they are several.

use crate::parameters::{Part, Start, linear, norm};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    pub n_layer: usize,
    pub n_head: usize,
    pub n_embd: usize,
    /// Positions.
    pub block_size: usize,
    /// How many different ones there are.
    pub characters: usize,
    /// The share of numbers that training drops, of attention's weights and of what each half of a block adds.
    pub dropout: f64,
}

/// Attention's layers within a head.
pub const QUERY: &str = "query";
pub const KEY: &str = "key";
pub const VALUE: &str = "value";

/// The weight of a layer of a head.
pub fn head(block: usize, head: usize, layer: &str) -> String {
    format!("blocks.{block}.sa.heads.{head}.{layer}.weight")
}

impl Design {
    pub fn parts(&self) -> Vec<Part> {
        let width = self.n_embd;
        let embedding = |name: &str, count: usize| Part {
            name: format!("{name}_embedding_table.weight"),
            shape: vec![count, width],
            start: Start::Normal,
        };
        let mut parts = vec![embedding("token", self.characters), embedding("position", self.block_size)];
        for block in 0..self.n_layer {
            let name = |part: &str| format!("blocks.{block}.{part}");
            for at in 0..self.n_head {
                let shape = vec![width / self.n_head, width];
                parts.extend(
                    [KEY, QUERY, VALUE].map(|layer| Part::of_layer(head(block, at, layer), shape.clone(), width)),
                );
            }
            linear(&mut parts, &name("sa.proj"), [width, width]);
            linear(&mut parts, &name("ff.net.0"), [4 * width, width]);
            linear(&mut parts, &name("ff.net.2"), [width, 4 * width]);
            norm(&mut parts, &name("ln1"), width);
            norm(&mut parts, &name("ln2"), width);
        }
        norm(&mut parts, "ln_f", width);
        linear(&mut parts, "lm_head", [self.characters, width]);
        parts
    }

    /// The number of all parameters.
    pub fn count(&self) -> usize {
        self.parts().iter().map(Part::count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the notebook prints of its model: with 65 characters, as Tiny Shakespeare has.
    #[test]
    fn the_study_s_model_has_14_335_553_parameters() {
        let design = Design { n_layer: 8, n_head: 8, n_embd: 384, block_size: 256, characters: 65, dropout: 0.2 };
        assert_eq!(design.count(), 14_335_553);
        assert_eq!(Design { characters: 66, ..design }.count(), 14_335_553 + 2 * 384 + 1);
    }

    #[test]
    fn weights_begin_as_pytorch_s() {
        let design = Design { n_layer: 1, n_head: 2, n_embd: 16, block_size: 8, characters: 5, dropout: 0.0 };
        let parts = design.parts();
        let part =
            |name: &str| parts.iter().find(|part| part.name == name).map(|part| (part.shape.clone(), part.start));
        assert_eq!(part("position_embedding_table.weight"), Some((vec![8, 16], Start::Normal)));
        assert_eq!(part("blocks.0.sa.heads.1.value.weight"), Some((vec![8, 16], Start::Uniform(0.25))));
        assert_eq!(part("blocks.0.ff.net.2.weight"), Some((vec![16, 64], Start::Uniform(0.125))));
        assert_eq!(part("lm_head.bias"), Some((vec![5], Start::Uniform(0.25))));
        assert_eq!(part("ln_f.weight"), Some((vec![16], Start::Constant(1.0))));
        assert_eq!(part("blocks.1.ln1.weight"), None);
    }
}
