//! ECDSA over the Ed25519 curve, as libgcrypt does it. Not EdDSA: only the curve is the same.
//!
//! With `B` the base point, `n` its order (253 bits), `d` the secret number and `Q = d·B` the public point:
//!
//! - `z` is the SHA-256 without its lowest three bits, so that it has as many as `n`.
//! - The nonce `k` is that of RFC 6979 with HMAC-SHA-256. `d` goes into it as it is in the key file, all 32 bytes:
//!   libgcrypt's are larger than `n`.
//! - `r` is the affine Edwards coordinate `x` of `k·B`, modulo `n`; `s = (z + r·d) / k` modulo `n`.
//! - A signature is valid if `r` is the coordinate `x`, modulo `n`, of `(z/s)·B + (r/s)·Q`.
//!
//! **What is secret** (`d`, `k`, and what is computed from them up to `r` and `s`) only goes through constant-time code:
//! scalars and points of curve25519-dalek, `rfc6979`. It is wiped after use, but for what those crates leave on the
//! stack. `k·B` is not secret: whoever has the signature can compute it.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use rfc6979::KGenerator;
use rfc6979::bigint::U256;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::affine::affine_x;
use crate::sexp::Sexp;

/// The order of the base point.
const ORDER: U256 =
    U256::from_be_hex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed");

/// Bits of a SHA-256 beyond those that the order has.
const SURPLUS_BITS: u32 = 3;

/// The secret number of a key, in big-endian order, not reduced.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(crate) fn new(d: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*d))
    }

    /// The number modulo the order.
    pub(crate) fn scalar(&self) -> Zeroizing<Scalar> {
        scalar_from_big_endian(&self.0)
    }

    /// Without leading zeros, as libgcrypt prints numbers.
    pub(crate) fn to_atom(&self) -> Sexp {
        Sexp::atom(without_leading_zeros(&self.0[..]))
    }
}

/// The two numbers of a signature, both between 1 and the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) r: Scalar,
    pub(crate) s: Scalar,
}

/// Signs a SHA-256.
pub(crate) fn sign(secret: &Secret, hash: &[u8; 32]) -> Numbers {
    let d = secret.scalar();
    let z = truncated(hash);
    let mut nonces = KGenerator::<Sha256, U256>::new(&secret.0[..], hash, &[], &ORDER);
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        nonces.fill_next_k(&mut bytes[..]);
        let k = scalar_from_big_endian(&bytes);
        let r = x_modulo_order(&EdwardsPoint::mul_base(&k));
        let product = Zeroizing::new(r * *d);
        let sum = Zeroizing::new(z + *product);
        let inverse = Zeroizing::new(k.invert());
        let s = *inverse * *sum;
        // Either is zero once in 2^252 times.
        if r != Scalar::ZERO && s != Scalar::ZERO {
            return Numbers { r, s };
        }
    }
}

/// Whether `numbers` sign `hash` for the key with the point `q`.
pub(crate) fn verify(q: &EdwardsPoint, hash: &[u8; 32], numbers: &Numbers) -> bool {
    let Numbers { r, s } = numbers;
    let inverse = s.invert();
    let (z, r_over_s) = (truncated(hash) * inverse, r * inverse);
    let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(&r_over_s, q, &z);
    !point.is_identity() && x_modulo_order(&point) == *r
}

/// A number between 1 and the order, from big-endian bytes that may have leading zeros or be short.
pub(crate) fn scalar_in_range(bytes: &[u8]) -> Option<Scalar> {
    let bytes = without_leading_zeros(bytes);
    let mut little_endian = [0; 32];
    let target = little_endian.get_mut(..bytes.len())?;
    target.copy_from_slice(bytes);
    target.reverse();
    let scalar: Option<Scalar> = Scalar::from_canonical_bytes(little_endian).into();
    scalar.filter(|scalar| *scalar != Scalar::ZERO)
}

/// A number as libgcrypt prints it: in big-endian order, without leading zeros.
pub(crate) fn scalar_to_atom(scalar: &Scalar) -> Sexp {
    let mut bytes = scalar.to_bytes();
    bytes.reverse();
    Sexp::atom(without_leading_zeros(&bytes))
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn scalar_from_big_endian(bytes: &[u8; 32]) -> Zeroizing<Scalar> {
    let mut bytes = Zeroizing::new(*bytes);
    bytes.reverse();
    Zeroizing::new(Scalar::from_bytes_mod_order(*bytes))
}

/// The hash as a number, cut to the length of the order.
fn truncated(hash: &[u8; 32]) -> Scalar {
    let z = U256::from_be_slice(hash).shr_vartime(SURPLUS_BITS);
    Scalar::from_bytes_mod_order(z.to_le_bytes().into())
}

fn x_modulo_order(point: &EdwardsPoint) -> Scalar {
    Scalar::from_bytes_mod_order(affine_x(point))
}
