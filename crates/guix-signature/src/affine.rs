//! The affine coordinate `x` of a point, which curve25519-dalek keeps to itself.
//!
//! A compressed point is `y` and the lowest bit of `x`, and on the curve `-x² + y² = 1 + d·x²·y²`, so that
//! `x² = (y² - 1) / (d·y² + 1)`. The divisor is never zero, since `-1/d` has no square root.

use curve25519_dalek::edwards::EdwardsPoint;
use rfc6979::bigint::modular::ConstMontyForm;
use rfc6979::bigint::{Choice, CtSelect, U256, const_prime_monty_params};

const_prime_monty_params!(
    Modulus,
    U256,
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
    2,
    "The prime 2^255 - 19."
);

type FieldElement = ConstMontyForm<Modulus, { U256::LIMBS }>;

/// `-121665/121666`
const D: FieldElement = FieldElement::new(&U256::from_be_hex(
    "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3",
));

/// The coordinate `x` in little-endian order, below 2^255 - 19. Takes the same time for every point.
pub(crate) fn affine_x(point: &EdwardsPoint) -> [u8; 32] {
    let mut bytes = point.compress().to_bytes();
    let is_odd = Choice::from_u8_lsb(bytes[31] >> 7);
    bytes[31] &= 0x7f;
    let y = FieldElement::new(&U256::from_le_slice(&bytes));
    let yy = y.square();
    let numerator = yy - FieldElement::ONE;
    let denominator = yy * D + FieldElement::ONE;
    let inverse = denominator.invert().expect("-1/d has no square root");
    let root = (numerator * inverse).sqrt();
    let root = root.expect("the point is on the curve");
    let (root, other) = (root.retrieve(), (-root).retrieve());
    let x = root.ct_select(&other, root.is_odd() ^ is_odd);
    x.to_le_bytes().into()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_base_point_is_where_rfc_8032_says() {
        let mut x = affine_x(&ED25519_BASEPOINT_POINT);
        x.reverse();
        let theirs = "216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51a";
        assert_eq!(HEXLOWER.encode(&x), theirs);
        let mut other = affine_x(&-ED25519_BASEPOINT_POINT);
        other.reverse();
        let sum = U256::from_be_slice(&x).wrapping_add(&U256::from_be_slice(&other));
        assert_eq!(sum, *FieldElement::MODULUS.as_ref());
    }

    /// Two of them have `x = 0`, where there is one root and not two.
    #[test]
    fn points_of_small_order_have_an_x_too() {
        let zeros = EIGHT_TORSION.map(|point| affine_x(&point) == [0; 32]);
        assert_eq!(zeros.map(u8::from), [1, 0, 0, 0, 1, 0, 0, 0]);
        for point in EIGHT_TORSION {
            let is_odd = affine_x(&point)[0] & 1;
            assert_eq!(is_odd, point.compress().to_bytes()[31] >> 7);
        }
    }
}
