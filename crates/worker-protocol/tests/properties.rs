//! What holds for all values, at every version.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store_path::StoreDir;
use worker_protocol::export::Trailer;
use worker_protocol::testing::{self, Sample};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{Context, Request, ValidPathInfo, Value, Version};

fn versions() -> impl Iterator<Item = Version> {
    let nix = Version::NIX_OLDEST.minor()..=Version::NIX_NEWEST.minor();
    let guix = Version::GUIX_OLDEST.minor()..=Version::GUIX_NEWEST.minor();
    nix.map(Version::nix).chain(guix.map(Version::guix))
}

#[test]
fn every_request_and_reply_at_every_version_survives_both_directions_and_any_cut() {
    for name in Request::NAMES {
        for version in versions() {
            let mut runner = TestRunner::new(Config::with_cases(8));
            let context = Context::new(StoreDir::NIX, version);
            Request::check(name, &context, &mut runner);
        }
    }
}

proptest! {
    #[test]
    fn a_number_selects_the_operation_that_has_it(
        (context, request) in testing::context()
            .prop_flat_map(|context| (Just(context.clone()), Request::sample(&context)))
    ) {
        let mut bytes = Vec::new();
        request.encode(&mut Encoder::new(&mut bytes), &context);
        let mut decoder = Decoder::new(&bytes);
        let number = decoder.word().expect("the number comes first");
        let read = Request::decode(number, &mut decoder, &context).expect("it was just written");
        prop_assert_eq!(read.map(|request| request.name()), Some(request.name()));
    }

    #[test]
    fn path_infos_are_kept_whole(
        (context, info) in testing::context()
            .prop_filter("Guix sends no signatures", |context| !context.version.is_guix())
            .prop_flat_map(|context| (Just(context.clone()), ValidPathInfo::sample(&context)))
    ) {
        let mut bytes = Vec::new();
        info.encode(&mut Encoder::new(&mut bytes), &context);
        prop_assert_eq!(ValidPathInfo::decode(&mut Decoder::new(&bytes), &context), Ok(info));
    }

    #[test]
    fn what_follows_an_exported_archive_is_kept_whole_and_can_be_cut_anywhere(
        (context, trailer) in testing::context()
            .prop_flat_map(|context| (Just(context.clone()), Trailer::sample(&context)))
    ) {
        testing::check_codec(&trailer, &context, Trailer::encode, Trailer::decode);
        let mut bytes = Vec::new();
        trailer.encode(&mut Encoder::new(&mut bytes), &context);
        prop_assert!(bytes.starts_with(&trailer.signed_bytes(&context)));
        prop_assert_eq!(Trailer::decode(&mut Decoder::new(&bytes), &context), Ok(trailer));
    }

    #[test]
    fn whatever_is_said_is_answered_as_a_model_foresees(
        data in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        testing::conversation(&data);
    }

    #[test]
    fn arbitrary_bytes_hurt_nobody(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        testing::wire_identity(&data);
        testing::requests(&data);
        testing::client_session(&data);
        testing::server_session(&data);
        testing::serve_session(&data);
        testing::export_identity(&data);
    }
}
