//! What is read is what was printed, and what is printed is what was read.

use derivation::testing::{derivation, identity, structured_attributes};
use derivation::{Derivation, StoreDir};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_derivation_is_read_as_it_was_printed(derivation in derivation()) {
        for dir in [StoreDir::NIX, StoreDir::GUIX] {
            let text = derivation.print(&dir);
            prop_assert_eq!(&Derivation::parse(&dir, &text)?, &derivation);
        }
    }

    /// Cut short, or with a byte more: refused, at the very end of what there is.
    #[test]
    fn a_derivation_that_is_cut_is_refused(derivation in derivation(), at in any::<prop::sample::Index>()) {
        let mut text = derivation.print(&StoreDir::NIX);
        let cut = at.index(text.len());
        prop_assert!(Derivation::parse(&StoreDir::NIX, &text[..cut]).is_err());
        text.push(b'\n');
        let error = Derivation::parse(&StoreDir::NIX, &text).expect_err("a byte too many");
        prop_assert_eq!(error.offset, text.len() - 1);
    }

    /// One byte exchanged: refused, or another derivation with a text of its own.
    #[test]
    fn no_two_texts_are_one_derivation(derivation in derivation(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = derivation.print(&StoreDir::NIX);
        let at = at.index(text.len());
        prop_assume!(text[at] != byte);
        text[at] = byte;
        identity(&text);
        prop_assert_ne!(Derivation::parse(&StoreDir::NIX, &text).ok(), Some(derivation));
    }

    #[test]
    fn structured_attributes_keep_their_text(data in "[{}\\[\\]\":,a0 \\\\]{0,30}") {
        structured_attributes(data.as_bytes());
    }
}
