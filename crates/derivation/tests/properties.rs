//! What is read is what was printed, and what is printed is what was read.

use derivation::testing::{derivation, identity, json, structured_attributes};
use derivation::{
    Derivation, DerivationFile, HashAlgorithm, JsonForm, Kind, ModuloMemo, Output, SortedMap,
    StoreDir,
};
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

    /// An independent statement of output paths: hash what is printed of the derivation without its outputs' paths.
    #[test]
    fn output_paths_do_not_depend_on_themselves(derivation in derivation()) {
        let mut derivation = derivation;
        derivation.input_derivations = SortedMap::new();
        prop_assume!(derivation.kind() == Ok(Kind::InputAddressed));
        // Together with the derivation's name they are the names of paths.
        prop_assume!(derivation.outputs.keys().all(|name| name.len() <= 200));
        // Values to be blanked, with something to escape in front of, in and behind them.
        let names: Vec<_> = derivation.outputs.keys().map(|name| name.clone().into_owned()).collect();
        for name in &names {
            derivation.environment.insert(name.clone().into_bytes().into(), b"a \"path\"\n".into());
        }
        let text = derivation.print(&StoreDir::GUIX);
        let file = DerivationFile::parse(&StoreDir::GUIX, &text)?;
        let paths = file.output_paths("name", &ModuloMemo::new(StoreDir::GUIX))?;
        for name in &names {
            derivation.outputs.insert(name.clone().into(), Output::Deferred);
            derivation.environment.insert(name.clone().into_bytes().into(), b"".into());
        }
        let hash = HashAlgorithm::Sha256.hash(&derivation.print(&StoreDir::GUIX));
        for name in &names {
            let expected = StoreDir::GUIX.make_output_path("name", name, &hash)?;
            prop_assert_eq!(paths.get(name.as_str()), Some(&Some(expected)));
        }
    }

    #[test]
    fn json_says_the_same(derivation in derivation()) {
        for form in [JsonForm::FullPaths, JsonForm::Version4] {
            if let Ok(written) = derivation.to_json(form, &StoreDir::NIX, "name") {
                json(written.as_bytes());
                let read = Derivation::from_json(&StoreDir::NIX, None, &written)?;
                // Version 4 has no path of a fixed output: it follows from the rest.
                prop_assert!(read == derivation || (form == JsonForm::Version4 && derivation.is_fixed_output()));
            }
        }
    }

    #[test]
    fn only_equal_derivations_have_no_differences(a in derivation(), b in derivation()) {
        prop_assert_eq!(a.differences(&a), vec![]);
        prop_assert_eq!(a.differences(&b).is_empty(), a == b);
        prop_assert_eq!(a.differences(&b).len(), b.differences(&a).len());
    }

    #[test]
    fn structured_attributes_keep_their_text(data in "[{}\\[\\]\":,a0 \\\\]{0,30}") {
        structured_attributes(data.as_bytes());
    }
}
