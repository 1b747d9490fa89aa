//! Strategies for property tests, and the oracles that the fuzz targets call.

mod conversation;
mod export;
mod oracle;
mod sample;
mod serve;

pub use conversation::conversation;
pub use export::{NoExport, ReadExport, export_identity, read_export, write_export};
pub use oracle::{client_session, requests, server_session, wire_identity};
pub use sample::{Sample, context, log, remote_error, version};
pub use serve::serve_session;

use crate::Context;
use crate::operation::Operation;
use crate::wire::{Decoder, Encoder, Stop};

/// Encodes and decodes a value and checks that nothing is lost, and that its decoder asks for the right
/// number of bytes wherever its input is cut.
///
/// # Panics
/// If that does not hold.
pub fn check_codec<T>(
    value: &T,
    context: &Context,
    encode: impl Fn(&T, &mut Encoder<'_>, &Context),
    decode: impl Fn(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
) {
    let bytes_of = |value: &T| {
        let mut bytes = Vec::new();
        encode(value, &mut Encoder::new(&mut bytes), context);
        bytes
    };
    let bytes = bytes_of(value);
    let mut decoder = Decoder::new(&bytes);
    let decoded = decode(&mut decoder, context)
        .unwrap_or_else(|error| panic!("failed to {error} at {}", context.version));
    assert_eq!(decoder.remaining(), 0, "everything belongs to the value");
    // A version need not have all fields, so that the value itself may differ.
    assert_eq!(bytes_of(&decoded), bytes);
    for cut in cuts(bytes.len()) {
        match decode(&mut Decoder::new(&bytes[..cut]), context) {
            Err(Stop::Incomplete { at_least }) => {
                assert!(
                    at_least > 0 && at_least <= bytes.len() - cut,
                    "{at_least} at {cut}"
                );
            }
            Err(error) => panic!("cut at {cut}: failed to {error}"),
            Ok(_) => panic!("decoded from {cut} of {} bytes", bytes.len()),
        }
    }
}

/// All places in a short input; about 200 of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(1 + length / 200)
}

/// Checks an operation's request and reply as [`check_codec`] does.
///
/// # Panics
/// If that does not hold.
pub fn check_operation<O: Operation>(operation: &O, reply: &O::Reply, context: &Context) {
    check_codec(operation, context, O::encode, O::decode);
    check_codec(reply, context, O::encode_reply, O::decode_reply);
}
