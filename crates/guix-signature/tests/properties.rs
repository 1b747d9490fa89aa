//! Every value has one canonical text; what was signed is verified, and nothing else.

use guix_signature::sexp::Sexp;
use guix_signature::testing::{
    WANTED, acl_identity, secret_key, sexp, sexp_identity, signatures_cannot_be_forged,
};
use guix_signature::{Acl, PublicKey, SecretKey, Signature, VerifyError};
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_s_expression_is_read_as_it_was_printed(sexp in sexp()) {
        prop_assert_eq!(Sexp::parse(&sexp.to_advanced()), Ok(sexp.clone()));
        prop_assert_eq!(Sexp::parse(&sexp.to_canonical()), Ok(sexp.clone()));
        prop_assert_eq!(Sexp::parse_canonical(&sexp.to_canonical()), Ok(sexp));
    }

    #[test]
    fn no_text_is_one_when_it_is_cut(sexp in sexp(), at in any::<prop::sample::Index>()) {
        let text = sexp.to_canonical();
        prop_assert!(Sexp::parse(&text[..at.index(text.len())]).is_err());
        let text = sexp.to_advanced();
        prop_assert!(Sexp::parse(&text[..at.index(text.len() - 1)]).is_err());
    }

    #[test]
    fn whatever_is_read_is_printed_the_same(data in "[()a-c0-3:#\" \\\\]{0,40}", bytes in any::<Vec<u8>>()) {
        for data in [data.as_bytes(), &bytes[..]] {
            sexp_identity(data);
            acl_identity(data);
            signatures_cannot_be_forged(data);
        }
    }

    #[test]
    fn keys_are_read_as_they_were_printed(key in secret_key()) {
        let again = SecretKey::parse(&key.to_text()).expect("a key");
        prop_assert_eq!(again.public_key(), key.public_key());
        prop_assert_eq!(again.sign(&WANTED), key.sign(&WANTED));
        prop_assert_eq!(PublicKey::parse(&key.public_key().to_sexp().to_advanced()), Ok(*key.public_key()));
        prop_assert_eq!(PublicKey::from_bytes(key.public_key().to_bytes()), Ok(*key.public_key()));
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else(key in secret_key(), other in secret_key(), hash: [u8; 32], bit in 0..256_usize) {
        prop_assume!(key.public_key() != other.public_key());
        let signature = key.sign(&hash);
        prop_assert!(signature.is_valid());
        prop_assert_eq!(Signature::parse(&signature.to_text()), Ok(signature));
        let text = hexadecimal(&signature.to_sexp());
        let acl = Acl::new([*other.public_key(), *key.public_key()]);
        prop_assert_eq!(acl.verify(text.as_bytes(), &hash), Ok(*key.public_key()));

        let stranger = Acl::new([*other.public_key()]).verify(text.as_bytes(), &hash);
        prop_assert_eq!(stranger, Err(VerifyError::UnauthorizedKey(*key.public_key())));
        let claimed = text.replace(&key.public_key().to_string(), &other.public_key().to_string());
        let claimed = acl.verify(claimed.as_bytes(), &hash);
        prop_assert_eq!(claimed, Err(VerifyError::Invalid(*other.public_key())));

        // The three lowest bits of a hash do not count in ECDSA: only the text tells them apart.
        let mut changed = hash;
        changed[bit / 8] ^= 1 << (bit % 8);
        let moved = text.replace(&digits(&hash), &digits(&changed));
        let moved = Signature::parse(moved.as_bytes()).expect("a signature");
        prop_assert_eq!(moved.hash(), &changed);
        prop_assert_eq!(moved.is_valid(), bit / 8 == 31 && bit % 8 < 3);
        let other_hash = acl.verify(text.as_bytes(), &changed);
        prop_assert_eq!(other_hash, Err(VerifyError::OtherHash { signed: hash, actual: changed }));
    }
}

/// The text with every number in digits; libgcrypt prints one in a few thousand as a string.
fn hexadecimal(sexp: &Sexp) -> String {
    match sexp {
        Sexp::Atom(bytes) if bytes.len() > 10 => {
            format!("#{}#", data_encoding::HEXUPPER.encode(bytes))
        }
        Sexp::Atom(bytes) => {
            String::from_utf8(Sexp::List(vec![Sexp::atom(bytes.clone())]).to_advanced())
                .expect("a short number")
                .trim_matches(['(', ')', '\n'])
                .to_owned()
        }
        Sexp::List(items) => {
            let items: Vec<_> = items.iter().map(hexadecimal).collect();
            format!("({})", items.join(" "))
        }
    }
}

fn digits(hash: &[u8; 32]) -> String {
    format!("sha256 #{}#", data_encoding::HEXUPPER.encode(hash))
}
