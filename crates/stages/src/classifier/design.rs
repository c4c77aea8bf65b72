//! Which parameters a network has, without any tensor.
//!
//! Both designs are one: for each width a 3×3 convolution with batch norm, a residual block, 2×2 max pooling and dropout,
//! then two linear layers. `exadam_cnn` is the class `CNN` of the notebook `cifar-10-cnn.ipynb`
//! (github.com/AhmedMostafa16/EXAdam), `small_cnn` the same for images of 8×8.
//!
//! The class has for each width a second convolution and norm (`conv2`, `bn2` and so on) that its forward pass never
//! calls: no gradient reaches them and nothing depends on them. They are not made.

use gazal_stage_api::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parameters::{Part, affine, linear, norm};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Architecture {
    /// For 8×8 images: widths 8 and 16, 32 hidden features.
    #[default]
    SmallCnn,
    /// The optimizer study's: widths 64, 128 and 256, 128 hidden features.
    ExadamCnn,
}

impl Architecture {
    pub fn widths(self) -> &'static [usize] {
        match self {
            Architecture::SmallCnn => &[8, 16],
            Architecture::ExadamCnn => &[64, 128, 256],
        }
    }

    fn hidden(self) -> usize {
        match self {
            Architecture::SmallCnn => 32,
            Architecture::ExadamCnn => 128,
        }
    }

    /// What height and width of its images must be multiples of.
    pub fn least_side(self) -> usize {
        1 << self.widths().len()
    }

    /// The parameters for images `[channels, height, width]`.
    pub fn parts(self, [channels, height, width]: [usize; 3], classes: usize) -> Vec<Part> {
        let (mut parts, mut inputs) = (Vec::new(), channels);
        for (index, &outputs) in self.widths().iter().enumerate() {
            let [number, block] = [2 * index + 1, index + 1];
            convolution(&mut parts, &format!("conv{number}"), [outputs, inputs]);
            norm(&mut parts, &format!("bn{number}"), outputs);
            for layer in [1, 2] {
                convolution(&mut parts, &format!("res_block{block}.conv{layer}"), [outputs, outputs]);
                norm(&mut parts, &format!("res_block{block}.bn{layer}"), outputs);
            }
            inputs = outputs;
        }
        let side = self.least_side();
        let features = inputs * (height / side) * (width / side);
        linear(&mut parts, "fc1", [self.hidden(), features]);
        linear(&mut parts, "fc2", [classes, self.hidden()]);
        parts
    }
}

fn convolution(parts: &mut Vec<Part>, name: &str, [outputs, inputs]: [usize; 2]) {
    affine(parts, name, vec![outputs, inputs, 3, 3], 9 * inputs);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Start;

    fn counted(parts: &[Part]) -> usize {
        parts.iter().map(Part::count).sum()
    }

    /// What the study's class has besides.
    fn unused() -> Vec<Part> {
        let mut parts = Vec::new();
        for (number, &width) in [2, 4, 6].iter().zip(Architecture::ExadamCnn.widths()) {
            convolution(&mut parts, &format!("conv{number}"), [width, width]);
            norm(&mut parts, &format!("bn{number}"), width);
        }
        parts
    }

    /// What PyTorch counts of the notebook's class.
    #[test]
    fn the_study_s_network_has_3_223_882_parameters_of_which_2_448_394_are_used() {
        let used = counted(&Architecture::ExadamCnn.parts([3, 32, 32], 10));
        assert_eq!([used + counted(&unused()), used], [3_223_882, 2_448_394]);
    }

    /// By hand: 80 + 16, 2·(584 + 16), 1168 + 32, 2·(2320 + 32), 64·32 + 32, 32·10 + 10.
    #[test]
    fn the_small_network_uses_all_it_has() {
        assert_eq!(counted(&Architecture::SmallCnn.parts([1, 8, 8], 10)), 9_610);
    }

    #[test]
    fn weights_begin_as_pytorch_s() {
        let parts = Architecture::ExadamCnn.parts([3, 32, 32], 10);
        let start = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.start);
        assert_eq!(start("conv1.bias"), Some(Start::Uniform(1.0 / 27_f64.sqrt())));
        assert_eq!(start("fc1.weight"), Some(Start::Uniform(1.0 / 64.0)));
        assert_eq!(start("res_block3.bn2.weight"), Some(Start::Constant(1.0)));
        assert_eq!(start("bn1.bias"), Some(Start::Constant(0.0)));
    }
}
