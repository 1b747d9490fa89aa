use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use store_path::StoreDir;
use worker_protocol::wire::{Decoder, Encoder, Stop};
use worker_protocol::{Context, Operation, Request, Version};

use crate::notation;

/// Versions 1.`minors` of Nix.
pub(crate) fn nix(minors: RangeInclusive<u8>) -> Vec<Version> {
    minors.map(Version::nix).collect()
}

/// Versions 0x100 + `minors` of Guix.
pub(crate) fn guix(minors: RangeInclusive<u8>) -> Vec<Version> {
    minors.map(Version::guix).collect()
}

/// Every version of both.
pub(crate) fn all() -> Vec<Version> {
    [nix(18..=38), guix(0x60..=0x64)].concat()
}

pub(crate) fn context(version: Version) -> Context {
    let store_dir = match version.is_guix() {
        true => StoreDir::GUIX,
        false => StoreDir::NIX,
    };
    Context::new(store_dir, version)
}

/// Checks both directions. `read` is what the bytes are read as: where a version lacks a field not all of
/// `value`.
pub(crate) fn check<T: PartialEq + Debug>(
    what: &str,
    context: &Context,
    bytes: &str,
    (value, read): (&T, &T),
    encode: impl Fn(&T, &mut Encoder<'_>, &Context),
    decode: impl Fn(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
) {
    let version = context.version;
    let expected = notation::bytes(bytes, &context.store_dir);
    let mut out = Vec::new();
    encode(value, &mut Encoder::new(&mut out), context);
    assert_eq!(out, expected, "{what} at {version}: {out:x?}");
    let mut decoder = Decoder::new(&expected);
    let decoded = decode(&mut decoder, context);
    assert_eq!(decoded.as_ref(), Ok(read), "{what} at {version}");
    assert_eq!(decoder.remaining(), 0, "{what} at {version}");
}

/// What has been checked.
pub(crate) struct Table {
    requests: BTreeSet<(&'static str, Version)>,
    replies: BTreeSet<(&'static str, Version)>,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            requests: BTreeSet::new(),
            replies: BTreeSet::new(),
        }
    }

    /// A request, of which these versions say everything.
    pub(crate) fn request<O: Operation + Into<Request> + Clone>(
        &mut self,
        versions: Vec<Version>,
        operation: O,
        bytes: &str,
    ) {
        self.partial_request(versions, operation.clone(), operation, bytes);
    }

    /// A request that is read as `read`, because these versions lack some of it.
    pub(crate) fn partial_request<O: Operation + Into<Request> + Clone>(
        &mut self,
        versions: Vec<Version>,
        operation: O,
        read: O,
        bytes: &str,
    ) {
        for &version in &versions {
            let refused = operation.inexpressible(version);
            assert_eq!(refused, None, "{} at {version}", O::NAME);
        }
        let (operation, read) = (operation.into(), read.into());
        for version in versions {
            let decode = |decoder: &mut Decoder<'_>, context: &Context| {
                let number = decoder.word()?;
                let request = Request::decode(number, decoder, context)?;
                Ok(request.unwrap_or_else(|| panic!("{} lacks {}", version, O::NAME)))
            };
            let values = (&operation, &read);
            let context = context(version);
            check(O::NAME, &context, bytes, values, Request::encode, decode);
            self.requests.insert((O::NAME, version));
        }
    }

    /// A reply, of which these versions say everything.
    pub(crate) fn reply<O: Operation<Reply: PartialEq + Debug>>(
        &mut self,
        versions: Vec<Version>,
        reply: O::Reply,
        bytes: &str,
    ) {
        self.both_replies::<O>(versions, &reply, &reply, bytes);
    }

    /// A reply that is read as `read`, because these versions lack some of it.
    pub(crate) fn partial_reply<O: Operation<Reply: PartialEq + Debug>>(
        &mut self,
        versions: Vec<Version>,
        reply: O::Reply,
        read: O::Reply,
        bytes: &str,
    ) {
        self.both_replies::<O>(versions, &reply, &read, bytes);
    }

    fn both_replies<O: Operation<Reply: PartialEq + Debug>>(
        &mut self,
        versions: Vec<Version>,
        reply: &O::Reply,
        read: &O::Reply,
        bytes: &str,
    ) {
        for version in versions {
            let context = context(version);
            let refused = O::inexpressible_reply(reply, version);
            assert_eq!(refused, None, "{} at {version}", O::NAME);
            let (encode, decode) = (O::encode_reply, O::decode_reply);
            check(O::NAME, &context, bytes, (reply, read), encode, decode);
            self.replies.insert((O::NAME, version));
        }
    }

    /// Both of an operation that is the same in these versions.
    pub(crate) fn operation<O>(
        &mut self,
        versions: Vec<Version>,
        (operation, request): (O, &str),
        (reply, bytes): (O::Reply, &str),
    ) where
        O: Operation<Reply: PartialEq + Debug> + Into<Request> + Clone,
    {
        self.request(versions.clone(), operation, request);
        self.reply::<O>(versions, reply, bytes);
    }

    /// Every operation was checked at every version that has it.
    pub(crate) fn check_complete(&self) {
        for name in Request::NAMES {
            for version in all()
                .into_iter()
                .filter(|&version| Request::exists(name, version))
            {
                let requests = self.requests.contains(&(*name, version));
                assert!(requests, "no vector of {name}'s request at {version}");
                let replies = self.replies.contains(&(*name, version));
                assert!(replies, "no vector of {name}'s reply at {version}");
            }
        }
    }
}
