//! What training does to an image before it is shown, as torchvision does it to PIL images: each time anew.

use gazal_data::{Quick, Stream};
use gazal_stage_api::{JsonSchema, Problem};
use serde::{Deserialize, Serialize};

use super::images::Images;

/// Both the mean that is taken off a pixel in `[0, 1]` and the deviation that it is divided by.
const MIDDLE: f32 = 0.5;

/// One of `augmentation`, applied in the list's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Augmentation {
    /// Every other image is mirrored.
    HorizontalFlip(Flip),
    /// Images are turned, moved and scaled; what comes in from outside is black.
    Affine(Affine),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Flip {
    /// The chance of it.
    #[serde(default = "half")]
    pub p: f64,
}

fn half() -> f64 {
    0.5
}

/// torchvision's `RandomAffine`: the nearest pixel is taken, the centre stays where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Affine {
    /// The largest angle to either side.
    pub degrees: f64,
    /// The largest shift as a share of the width, and of the height; shifts are whole pixels.
    pub translate: f64,
    /// The smallest and the largest scale.
    pub scale: [f64; 2],
}

impl Augmentation {
    pub fn problem(&self, field: &str) -> Option<Problem> {
        let (name, holds, message) = match self {
            Augmentation::HorizontalFlip(flip) => ("p", (0.0..=1.0).contains(&flip.p), "must be in [0, 1]"),
            Augmentation::Affine(Affine { degrees, .. }) if !(0.0..=180.0).contains(degrees) => {
                ("degrees", false, "must be in [0, 180]")
            }
            Augmentation::Affine(Affine { translate, .. }) if !(0.0..=1.0).contains(translate) => {
                ("translate", false, "must be in [0, 1]")
            }
            Augmentation::Affine(Affine { scale: [least, most], .. }) => {
                ("scale", *least > 0.0 && least <= most && most.is_finite(), "must be two scales, the smaller first")
            }
        };
        (!holds).then(|| Problem::new(&format!("{field}.{name}"), message))
    }
}

/// Draws of one image, one after the other.
struct Draws {
    numbers: Quick,
    drawn: u64,
}

impl Draws {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.drawn += 1;
        low + (high - low) * self.numbers.uniform(self.drawn)
    }
}

/// Images as they are shown, `[batch, channels, height, width]`: augmented with the numbers that the stream has for
/// them in this epoch, if one is given, then normalised to `[−1, 1]`.
pub fn shown(images: &Images, rows: &[usize], augmented: Option<(&[Augmentation], &Stream, u64)>) -> Vec<f32> {
    let description = &images.description;
    let [height, width] = [description.height, description.width];
    let highest = f32::from(description.highest);
    let mut all = Vec::with_capacity(rows.len() * description.pixels());
    for &row in rows {
        let mut pixels = images.pixels(row).to_vec();
        if let Some((steps, stream, epoch)) = augmented {
            let mut draws = Draws { numbers: stream.quick(epoch, row as u64), drawn: 0 };
            for step in steps {
                pixels = apply(step, &pixels, [height, width], &mut draws);
            }
        }
        all.extend(pixels.into_iter().map(|pixel| (f32::from(pixel) / highest - MIDDLE) / MIDDLE));
    }
    all
}

fn apply(step: &Augmentation, pixels: &[u8], size: [usize; 2], draws: &mut Draws) -> Vec<u8> {
    match step {
        Augmentation::HorizontalFlip(flip) => match draws.between(0.0, 1.0) < flip.p {
            true => pixels.chunks_exact(size[1]).flat_map(|row| row.iter().rev().copied()).collect(),
            false => pixels.to_vec(),
        },
        Augmentation::Affine(affine) => {
            let [height, width] = size.map(|side| side as f64);
            let angle = draws.between(-affine.degrees, affine.degrees).to_radians();
            let [across, down] = [width, height].map(|side| {
                let most = affine.translate * side;
                draws.between(-most, most).round_ties_even()
            });
            let scale = draws.between(affine.scale[0], affine.scale[1]);
            moved(pixels, size, &Motion { angle, shift: [across, down], scale })
        }
    }
}

/// Around the centre, then by the shift.
struct Motion {
    angle: f64,
    /// To the right, and down.
    shift: [f64; 2],
    scale: f64,
}

/// Each pixel takes the one that its centre comes from.
fn moved(pixels: &[u8], [height, width]: [usize; 2], motion: &Motion) -> Vec<u8> {
    let (sine, cosine) = motion.angle.sin_cos();
    let centre = [width as f64 / 2.0, height as f64 / 2.0];
    let from = |row: usize, column: usize| {
        let x = column as f64 + 0.5 - centre[0] - motion.shift[0];
        let y = row as f64 + 0.5 - centre[1] - motion.shift[1];
        let column = (cosine * x + sine * y) / motion.scale + centre[0];
        let row = (cosine * y - sine * x) / motion.scale + centre[1];
        let within = column >= 0.0 && row >= 0.0 && column < width as f64 && row < height as f64;
        within.then(|| row as usize * width + column as usize)
    };
    let places: Vec<Option<usize>> = (0..height)
        .flat_map(|row| (0..width).map(move |column| (row, column)))
        .map(|(row, column)| from(row, column))
        .collect();
    let channels = pixels.chunks_exact(height * width);
    channels.flat_map(|channel| places.iter().map(|place| place.map_or(0, |place| channel[place]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3×4 image of its places, counted from 1.
    fn places() -> Vec<u8> {
        (1..=12).collect()
    }

    fn by(angle: f64, shift: [f64; 2], scale: f64) -> Vec<u8> {
        moved(&places(), [3, 4], &Motion { angle, shift, scale })
    }

    #[test]
    fn nothing_moves_without_a_motion() {
        assert_eq!(by(0.0, [0.0, 0.0], 1.0), places());
    }

    #[test]
    fn a_shift_is_to_the_right_and_down_and_brings_black_in() {
        assert_eq!(by(0.0, [1.0, 0.0], 1.0), [0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11]);
        assert_eq!(by(0.0, [0.0, -1.0], 1.0), [5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]);
    }

    #[test]
    fn half_a_turn_reverses_all() {
        let reversed: Vec<u8> = places().into_iter().rev().collect();
        assert_eq!(by(std::f64::consts::PI, [0.0, 0.0], 1.0), reversed);
    }

    #[test]
    fn twice_as_large_shows_the_middle() {
        // Of a row at 0.5, 1.5, 2.5, 3.5 around 2: 1.25, 1.75, 2.25, 2.75, so columns 1, 1, 2, 2; rows 1, 1, 1.
        let row = [6, 6, 7, 7];
        let rows = by(0.0, [0.0, 0.0], 2.0);
        assert_eq!(rows[4..8], row);
        // Rows at 0.5, 1.5, 2.5 around 1.5: 1.0, 1.5, 2.0, so 1, 1, 2.
        assert_eq!((&rows[..4], &rows[8..]), (&row[..], &[10, 10, 11, 11][..]));
    }

    /// `torchvision.transforms.functional.affine` of a PIL image: 20 degrees, by (1, −1), 1.1 times as large.
    #[test]
    fn a_motion_is_torchvision_s() {
        let image: Vec<u8> = (0..48).map(|place| (place * 5 + 3) as u8).collect();
        let found = moved(&image, [6, 8], &Motion { angle: 20_f64.to_radians(), shift: [1.0, -1.0], scale: 1.1 });
        assert_eq!(found, TORCHVISION);
    }

    const TORCHVISION: [u8; 48] = [
        0, 83, 88, 93, 58, 58, 63, 28, 123, 123, 128, 133, 98, 103, 108, 68, 163, 168, 173, 133, 138, 143, 108, 113,
        203, 208, 213, 178, 183, 183, 148, 153, 0, 0, 213, 218, 223, 188, 193, 193, 0, 0, 0, 0, 0, 228, 233, 238,
    ];

    #[test]
    fn flips_mirror_every_row_of_every_channel() {
        let stream = Stream::new(1, "flips");
        let mut draws = Draws { numbers: stream.quick(0, 0), drawn: 0 };
        let flip = |p: f64, draws: &mut Draws| {
            apply(&Augmentation::HorizontalFlip(Flip { p }), &[1, 2, 3, 4, 5, 6, 7, 8], [2, 2], draws)
        };
        assert_eq!(flip(1.0, &mut draws), [2, 1, 4, 3, 6, 5, 8, 7]);
        assert_eq!(flip(0.0, &mut draws), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_is_out_of_range_is_said_by_field() {
        let problem = |step: &Augmentation| step.problem("augmentation[0]").map(|problem| problem.field);
        let affine = |degrees, translate, scale| Augmentation::Affine(Affine { degrees, translate, scale });
        assert_eq!(problem(&affine(5.0, 0.1, [0.9, 1.1])), None);
        assert_eq!(problem(&affine(-5.0, 0.1, [0.9, 1.1])).as_deref(), Some("augmentation[0].degrees"));
        assert_eq!(problem(&affine(5.0, 2.0, [0.9, 1.1])).as_deref(), Some("augmentation[0].translate"));
        assert_eq!(problem(&affine(5.0, 0.1, [1.1, 0.9])).as_deref(), Some("augmentation[0].scale"));
        let flip = Augmentation::HorizontalFlip(Flip { p: 1.5 });
        assert_eq!(problem(&flip).as_deref(), Some("augmentation[0].p"));
    }
}
