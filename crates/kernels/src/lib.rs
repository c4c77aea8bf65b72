//! What the CPU spends its time on in decoding and in losses: products with packed weights, and softmax.
//!
//! Burn's CPU backend hands products to `gemm`, which lays the weight out anew at each call and converts bfloat16 to
//! float32 as a whole. Decoding multiplies few rows with the same weights again and again, so that this laying out is
//! most of the work. A [`Packed`] weight is laid out once, in the order in which the product reads it.
//!
//! Knows no tensors: slices in, vectors out. Vectors are `pulp`'s, which chooses the widest that the processor has and
//! needs no `unsafe` here.

mod packed;
mod softmax;
mod tile;

pub use packed::{Form, Packed};
pub use softmax::{Row, softmax};
