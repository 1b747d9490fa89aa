//! The operations: each with its number, its request's fields and its reply, in both directions.
//!
//! An operation is a plain struct. [`Operation`] says how it becomes bytes and what its reply is;
//! [`Request`] holds any of them, as a server receives them.

mod add;
mod add_to_store;
mod build;
mod information;
mod maintenance;
mod options;
mod realisations;
mod substitutes;
mod validity;

pub use add::{
    AddBuildLog, AddMultipleToStore, AddSignatures, AddTextToStore, AddToStoreNar, ExportPath,
    ImportPaths, NarFromPath,
};
pub use add_to_store::{AddToStore, Added};
pub use build::{BuildDerivation, BuildPaths, BuildPathsWithResults, EnsurePath};
pub use information::{
    Missing, QueryDerivationOutputMap, QueryDerivationOutputNames, QueryDerivationOutputs,
    QueryDeriver, QueryMissing, QueryPathFromHashPart, QueryPathHash, QueryPathInfo,
    QueryReferences, QueryReferrers, QueryValidDerivers,
};
pub use maintenance::{
    AddIndirectRoot, AddPermRoot, AddTempRoot, BuiltinBuilders, ClearFailedPaths, CollectGarbage,
    Collected, FindRoots, GarbageAction, Obsolete, OptimiseStore, QueryFailedPaths, SubstituteUrls,
    SyncWithGC, VerifyStore,
};
pub use options::SetOptions;
pub use realisations::{QueryRealisation, Realised, RegisterDrvOutput};
pub use substitutes::{QuerySubstitutablePathInfo, QuerySubstitutablePathInfos, SubstitutableInfo};
pub use validity::{
    HasSubstitutes, IsValidPath, QueryAllValidPaths, QuerySubstitutablePaths, QueryValidPaths,
};

use crate::Version;
use crate::value::Context;
use crate::wire::{Decoder, Encoder, Stop};

/// One operation of the protocol.
pub trait Operation: Sized {
    /// Its number.
    const NUMBER: u64;
    /// Its name in Nix's sources, without the `wop`.
    const NAME: &'static str;
    /// What the other side answers.
    type Reply;

    /// Whether a version has it.
    fn exists(version: Version) -> bool;

    /// What this request holds that the version cannot say, as the end of "send NAME ..", or nothing.
    fn inexpressible(&self, _version: Version) -> Option<&'static str> {
        None
    }

    /// What a reply holds, or lacks, so that the version cannot say it, as the end of "answer NAME ..", or nothing.
    fn inexpressible_reply(_reply: &Self::Reply, _version: Version) -> Option<&'static str> {
        None
    }

    /// Appends the request's fields.
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context);

    /// Reads the request's fields.
    ///
    /// # Errors
    /// [`Stop`].
    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop>;

    /// Appends the reply.
    fn encode_reply(reply: &Self::Reply, encoder: &mut Encoder<'_>, context: &Context);

    /// Reads the reply.
    ///
    /// # Errors
    /// [`Stop`].
    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop>;

    /// How data follows the request.
    fn upload(_version: Version) -> Upload {
        Upload::None
    }

    /// Whether an archive follows the reply, of which only a decoder of archives finds the end.
    const RAW_REPLY: bool = false;
}

/// How data follows a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// Not at all.
    None,
    /// In frames: each a length and as many bytes, a length of 0 at the end.
    Framed,
    /// In blocks that the daemon asks for.
    Tunnelled,
    /// As they are, right behind the request. Only a decoder of archives finds the end.
    Inline,
}

/// An operation whose request has data behind it.
pub trait UploadOperation: Operation {
    /// How many bytes of data there are, where the request says so.
    fn data_size(&self) -> Option<u64>;
}

/// Declares an operation of plain fields, in the order in which they are sent.
///
/// `if gate` behind a name or field: it exists only in versions where that gate of [`Version`] is open.
/// A field that a version lacks is left out, and read as its default. `most limit`: how long a text may be.
macro_rules! operation {
    (
        $(#[$doc:meta])*
        $name:ident = $number:literal $(if $gate:ident)? {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $type:ty $(, if $field_gate:ident)? $(, most $most:expr)?;
            )*
        } -> $reply:ty $(; upload $upload:expr)? $(; raw $raw:literal)? $(; refuse $refuse:expr)?
        $(; refuse_reply $refuse_reply:expr)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::operation::Operation for $name {
            const NUMBER: u64 = $number;
            const NAME: &'static str = stringify!($name);
            type Reply = $reply;

            fn exists(_version: $crate::Version) -> bool {
                true $(&& _version.$gate())?
            }

            fn encode(
                &self,
                _encoder: &mut $crate::wire::Encoder<'_>,
                _context: &$crate::value::Context,
            ) {
                $(if true $(&& _context.version.$field_gate())? {
                    $crate::value::Value::encode(&self.$field, _encoder, _context);
                })*
            }

            fn decode(
                _decoder: &mut $crate::wire::Decoder<'_>,
                _context: &$crate::value::Context,
            ) -> Result<Self, $crate::wire::Stop> {
                $(let $field = if true $(&& _context.version.$field_gate())? {
                    $crate::operation::operation!(@decode _decoder _context $($most)?)
                } else {
                    $crate::operation::operation!(@default $type $(, $field_gate)?)
                };)*
                Ok($name { $($field),* })
            }

            fn encode_reply(
                reply: &$reply,
                encoder: &mut $crate::wire::Encoder<'_>,
                context: &$crate::value::Context,
            ) {
                $crate::value::Value::encode(reply, encoder, context);
            }

            fn decode_reply(
                decoder: &mut $crate::wire::Decoder<'_>,
                context: &$crate::value::Context,
            ) -> Result<$reply, $crate::wire::Stop> {
                $crate::value::Value::decode(decoder, context)
            }

            $(fn upload(version: $crate::Version) -> $crate::operation::Upload {
                let choose: fn($crate::Version) -> $crate::operation::Upload = $upload;
                choose(version)
            })?

            $(const RAW_REPLY: bool = $raw;)?

            $(fn inexpressible(&self, version: $crate::Version) -> Option<&'static str> {
                let refuse: fn(&$name, $crate::Version) -> Option<&'static str> = $refuse;
                refuse(self, version)
            })?

            $(fn inexpressible_reply(reply: &$reply, version: $crate::Version) -> Option<&'static str> {
                let refuse: fn(&$reply, $crate::Version) -> Option<&'static str> = $refuse_reply;
                refuse(reply, version)
            })?
        }

        #[cfg(feature = "testing")]
        impl $crate::testing::Sample for $name {
            fn sample(_context: &$crate::value::Context) -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                let fields = (
                    $(<$type as $crate::testing::Sample>::sample(_context),)*
                    proptest::strategy::Just(()),
                );
                fields.prop_map(|($($field,)* (),)| $name { $($field),* }).boxed()
            }
        }
    };
    (@decode $decoder:ident $context:ident) => {
        $crate::value::Value::decode($decoder, $context)?
    };
    (@decode $decoder:ident $context:ident $most:expr) => { $decoder.text($most)? };
    (@default $type:ty, $gate:ident) => { <$type>::default() };
    (@default $type:ty) => { unreachable!("a field without a gate is always there") };
}
use operation;

/// Declares [`Request`].
macro_rules! requests {
    ($($name:ident,)*) => {
        /// Any operation's request, as a server receives it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Request {
            $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name),)*
        }

        impl Request {
            /// The operation's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Request::$name(_) => <$name as Operation>::NAME,)*
                }
            }

            /// How data follows the request.
            pub fn upload(&self, version: Version) -> Upload {
                match self {
                    $(Request::$name(_) => <$name as Operation>::upload(version),)*
                }
            }

            /// Appends the operation's number and the request's fields.
            pub fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
                match self {
                    $(Request::$name(operation) => {
                        encoder.word(<$name as Operation>::NUMBER);
                        Operation::encode(operation, encoder, context);
                    })*
                }
            }

            /// Reads the fields of operation `number`; nothing where the version has no such operation.
            ///
            /// # Errors
            /// [`Stop`].
            pub fn decode(
                number: u64,
                decoder: &mut Decoder<'_>,
                context: &Context,
            ) -> Result<Option<Request>, Stop> {
                match number {
                    $(<$name as Operation>::NUMBER if <$name as Operation>::exists(context.version) => {
                        Operation::decode(decoder, context).map(Request::$name).map(Some)
                    })*
                    _ => Ok(None),
                }
            }
        }

        impl Request {
            /// Whether this is one of the operations that build or substitute.
            pub fn may_take_long(&self) -> bool {
                matches!(
                    self,
                    Request::BuildPaths(_)
                        | Request::BuildPathsWithResults(_)
                        | Request::BuildDerivation(_)
                        | Request::EnsurePath(_)
                )
            }
        }

        /// Strategies over all operations.
        #[cfg(feature = "testing")]
        impl Request {
            /// The names of all operations.
            pub const NAMES: &[&str] = &[$(<$name as Operation>::NAME),*];

            /// Whether a version has the operation called `name`.
            pub fn exists(name: &str, version: Version) -> bool {
                match name {
                    $(stringify!($name) => <$name as Operation>::exists(version),)*
                    _ => false,
                }
            }

            /// Any request that a version has.
            pub fn sample(context: &Context) -> proptest::strategy::BoxedStrategy<Request> {
                use proptest::strategy::Strategy as _;
                let mut all = Vec::new();
                $(if <$name as Operation>::exists(context.version) {
                    let request = <$name as crate::testing::Sample>::sample(context);
                    all.push(request.prop_map(Request::$name).boxed());
                })*
                proptest::strategy::Union::new(all).boxed()
            }

            /// Checks random requests and replies of one operation in both directions.
            ///
            /// # Panics
            /// If anything is lost between the two directions.
            pub fn check(name: &str, context: &Context, runner: &mut proptest::test_runner::TestRunner) {
                match name {
                    $(stringify!($name) => if <$name as Operation>::exists(context.version) {
                        let values = (
                            <$name as crate::testing::Sample>::sample(context),
                            <<$name as Operation>::Reply as crate::testing::Sample>::sample(context),
                        );
                        let checked = runner.run(&values, |(request, reply)| {
                            crate::testing::check_operation::<$name>(&request, &reply, context);
                            Ok(())
                        });
                        checked.unwrap_or_else(|error| panic!("{name}: {error}"));
                    })*
                    _ => panic!("there is no {name}"),
                }
            }
        }

        $(impl From<$name> for Request {
            fn from(operation: $name) -> Request {
                Request::$name(operation)
            }
        })*
    };
}

requests! {
    IsValidPath,
    HasSubstitutes,
    QueryPathHash,
    QueryReferences,
    QueryReferrers,
    AddToStore,
    AddTextToStore,
    BuildPaths,
    EnsurePath,
    AddTempRoot,
    AddIndirectRoot,
    SyncWithGC,
    FindRoots,
    ExportPath,
    QueryDeriver,
    SetOptions,
    CollectGarbage,
    QuerySubstitutablePathInfo,
    QueryDerivationOutputs,
    QueryAllValidPaths,
    QueryFailedPaths,
    ClearFailedPaths,
    QueryPathInfo,
    ImportPaths,
    QueryDerivationOutputNames,
    QueryPathFromHashPart,
    QuerySubstitutablePathInfos,
    QueryValidPaths,
    QuerySubstitutablePaths,
    QueryValidDerivers,
    OptimiseStore,
    VerifyStore,
    BuildDerivation,
    AddSignatures,
    NarFromPath,
    AddToStoreNar,
    QueryMissing,
    QueryDerivationOutputMap,
    RegisterDrvOutput,
    QueryRealisation,
    AddMultipleToStore,
    AddBuildLog,
    BuildPathsWithResults,
    AddPermRoot,
    BuiltinBuilders,
    SubstituteUrls,
}
