//! The exponential that softmax, attention and gates share: a vector at a time, where libm's takes one number.

use pulp::Simd;

/// `eˣ` for `x ≤ 0`, within 2 units in the last place; below −87 it is `e⁻⁸⁷`.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`; `eʳ` by its series, and `2ⁿ` into the exponent.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let of = |number: f32| simd.splat_f32s(number);
    // In this order x86 lets what is no number through.
    let x = simd.max_f32s(of(-87.0), x);
    // Added to a number this large, a fraction is rounded away and the whole stands in the lowest bits.
    let shift = of(12_582_912.0);
    let shifted = simd.mul_add_f32s(x, of(std::f32::consts::LOG2_E), shift);
    let n = simd.sub_f32s(shifted, shift);
    let r = simd.mul_add_f32s(n, of(-0.693_359_4), x);
    let r = simd.mul_add_f32s(n, of(2.121_944_4e-4), r);
    let mut power = of(1.0 / 5040.0);
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = simd.mul_add_f32s(power, r, of(factor));
    }
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), exponent))
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        for step in 0..870_000 {
            let x = -(step as f32) / 10_000.0;
            let (found, wanted) = (f64::from(exp(Scalar, x)), f64::from(x).exp());
            assert!((found / wanted - 1.0).abs() < 2.0 * f64::from(f32::EPSILON), "e^{x} is not {found}");
        }
        assert_eq!(exp(Scalar, 0.0), 1.0);
        assert_eq!(exp(Scalar, f32::NEG_INFINITY), exp(Scalar, -87.0));
    }
}
