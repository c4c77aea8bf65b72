//! What the CPU spends its time on in training and decoding, where compositions of tensor operations are slow:
//! products with packed weights, softmax, attention, norms, rotary embeddings and gates.
//!
//! Burn's CPU backend hands products to `gemm`, which lays the weight out anew at each call and converts bfloat16 to
//! float32 as a whole. Decoding multiplies few rows with the same weights again and again, so that this laying out is
//! most of the work. A [`Packed`] weight is laid out once, in the order in which the product reads it.
//!
//! Training spends its time on what stands between the products: each tensor operation is a pass over memory, masks are
//! tensors, exponentials are libm's, and autodiff keeps what each of them gave. Here each part of a decoder's layer is
//! one pass forward and one backward, which computes anew what is cheaper to compute than to keep.
//!
//! Knows no tensors: slices in, vectors out. Vectors are `pulp`'s, which chooses the widest that the processor has and
//! needs no `unsafe` here; the one call that does is in `memory.rs`. Whatever is reduced is reduced in an order that does
//! not depend on the number of threads.

mod adapted;
mod attention;
#[cfg(test)]
mod check;
mod exp;
mod gate;
mod matrix;
mod memory;
mod norm;
mod packed;
mod product;
mod rotary;
mod softmax;
mod strided;
mod tile;

pub use adapted::{adapt, adapt_backward};
pub use attention::{AttentionShape, Kept, attention, attention_backward, attention_kept};
pub use gate::{swiglu, swiglu_backward};
pub use matrix::Matrix;
pub use memory::keep_memory;
pub use norm::{Normed, rms_norm, rms_norm_backward};
pub use packed::{Form, Packed};
pub use product::{add_product, product};
pub use rotary::{RotaryShape, rotary, rotary_backward};
pub use softmax::{Row, softmax};
