use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use store_path::{
    ContentAddress, ContentAddressMethod, HashAlgorithm, StorePath, testing as paths,
};

use crate::export::Trailer;
use crate::log::{ActivityKind, Field, Level, Log, RemoteError, ResultKind};
use crate::operation::{
    AddBuildLog, AddToStore, Added, Collected, GarbageAction, Missing, Obsolete, QueryRealisation,
    QuerySubstitutablePathInfos, Realised, RegisterDrvOutput, SetOptions, SubstitutableInfo,
};
use crate::wire::Text;
use crate::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, Context, DerivedPath, Done,
    DrvOutput, NarHash, Outputs, PathInfo, Realisation, ValidPathInfo, Version,
};

/// A type with a strategy that makes any of its values (that a version can say).
pub trait Sample: Sized + std::fmt::Debug + 'static {
    /// The strategy.
    fn sample(context: &Context) -> BoxedStrategy<Self>;
}

/// Any version that is spoken.
pub fn version() -> impl Strategy<Value = Version> {
    prop_oneof![
        4 => (Version::NIX_OLDEST.minor()..=Version::NIX_NEWEST.minor()).prop_map(Version::nix),
        1 => (Version::GUIX_OLDEST.minor()..=Version::GUIX_NEWEST.minor()).prop_map(Version::guix),
    ]
}

/// Any store directory and version.
pub fn context() -> impl Strategy<Value = Context> {
    (paths::store_dir(), version()).prop_map(|(store_dir, version)| Context { store_dir, version })
}

/// Implements [`Sample`] by a strategy, for types whose values do not depend on the context.
macro_rules! samples {
    ($($type:ty: $strategy:expr;)*) => {
        $(impl Sample for $type {
            fn sample(_: &Context) -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        })*
    };
}

samples! {
    (): Just(());
    bool: any::<bool>();
    u64: prop_oneof![0..10_u64, any::<u64>()];
    Done: Just(Done);
    Text: prop_oneof!["[a-z =/]{0,20}".prop_map(Text::from), vec(any::<u8>(), 0..30).prop_map(Text::from)];
    StorePath: paths::store_path();
    NarHash: any::<[u8; 32]>().prop_map(NarHash);
    ContentAddress: paths::content_address();
    Option<ContentAddress>: proptest::option::of(paths::content_address());
    Option<Text>: proptest::option::of("[a-z]{0,9}".prop_map(Text::from));
    Option<StorePath>: proptest::option::of(paths::store_path());
    BuildMode: select(vec![BuildMode::Normal, BuildMode::Repair, BuildMode::Check]);
    GarbageAction: select(vec![
        GarbageAction::ReturnLive,
        GarbageAction::ReturnDead,
        GarbageAction::DeleteDead,
        GarbageAction::DeleteSpecific,
    ]);
    [Obsolete; 3]: Just([Obsolete; 3]);
    DrvOutput: (paths::hash(), "[a-z]{1,8}")
        .prop_map(|(derivation_hash, output)| DrvOutput { derivation_hash, output });
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        vec(T::sample(context), 0..4).boxed()
    }
}

impl<T: Sample + Ord> Sample for BTreeSet<T> {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        btree_set(T::sample(context), 0..4).boxed()
    }
}

impl<K: Sample + Ord, V: Sample> Sample for BTreeMap<K, V> {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        btree_map(K::sample(context), V::sample(context), 0..4).boxed()
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        (A::sample(context), B::sample(context)).boxed()
    }
}

/// Implements [`Sample`] for structs of fields that have it.
macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl Sample for $name {
            fn sample(context: &Context) -> BoxedStrategy<Self> {
                ($(sample_field(context, |value: &$name| &value.$field),)*)
                    .prop_map(|($($field,)*)| $name { $($field),* })
                    .boxed()
            }
        })*
    };
}

/// The strategy of a field's type.
fn sample_field<S, T: Sample>(context: &Context, _: impl Fn(&S) -> &T) -> BoxedStrategy<T> {
    T::sample(context)
}

structs! {
    PathInfo {
        deriver, nar_hash, references, registration_time, nar_size, ultimate, signatures,
        content_address
    }
    ValidPathInfo { path, info }
    SubstitutableInfo { deriver, references, download_size, nar_size }
    Missing { will_build, will_substitute, unknown, download_size, nar_size }
    Collected { paths, bytes_freed }
    BasicOutput { path, hash_algorithm, hash }
    BasicDerivation { outputs, input_sources, platform, builder, arguments, environment }
    RegisterDrvOutput { realisation }
    QueryRealisation { output }
    QuerySubstitutablePathInfos { paths }
    AddBuildLog { path }
    Trailer { path, references, deriver, signature }
}

impl Sample for Option<PathInfo> {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        let info = PathInfo::sample(context);
        match context.version.is_guix() {
            true => info.prop_map(Some).boxed(),
            false => proptest::option::of(info).boxed(),
        }
    }
}

impl Sample for Option<SubstitutableInfo> {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        proptest::option::of(SubstitutableInfo::sample(context)).boxed()
    }
}

impl Sample for DerivedPath {
    fn sample(_: &Context) -> BoxedStrategy<Self> {
        let names = btree_set("[a-z]{1,5}".prop_map(Text::from), 1..3).prop_map(Outputs::Names);
        let outputs = prop_oneof![Just(Outputs::All), names];
        prop_oneof![
            paths::store_path().prop_map(DerivedPath::Opaque),
            (paths::store_path(), outputs).prop_map(|(derivation, outputs)| DerivedPath::Built {
                derivation,
                outputs
            }),
        ]
        .boxed()
    }
}

impl Sample for Realisation {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        let output = || DrvOutput::sample(context);
        let dependent = btree_map(output(), paths::store_path(), 0..2);
        (
            output(),
            paths::store_path(),
            btree_set("[a-z:\"é]{0,9}", 0..3),
            dependent,
        )
            .prop_map(
                |(id, out_path, signatures, dependent_realisations)| Realisation {
                    id,
                    out_path,
                    signatures,
                    dependent_realisations,
                },
            )
            .boxed()
    }
}

impl Sample for Realised {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        match context.version.has_json_realisations() {
            true => Realisation::sample(context)
                .prop_map(Realised::Realisation)
                .boxed(),
            false => paths::store_path().prop_map(Realised::Path).boxed(),
        }
    }
}

impl Sample for BuildResult {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        let status = (0..20_u64).prop_map(BuildStatus::from_number);
        let times = (any::<u64>(), any::<bool>(), any::<u64>(), any::<u64>());
        let cpu = (any::<Option<u64>>(), any::<Option<u64>>());
        (
            status,
            Text::sample(context),
            times,
            cpu,
            Sample::sample(context),
        )
            .prop_map(|(status, error, times, cpu, built_outputs)| BuildResult {
                status,
                error,
                times_built: times.0,
                is_non_deterministic: times.1,
                start_time: times.2,
                stop_time: times.3,
                cpu_user: cpu.0,
                cpu_system: cpu.1,
                built_outputs,
            })
            .boxed()
    }
}

impl Sample for Added {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        (paths::store_path(), PathInfo::sample(context))
            .prop_map(|(path, info)| Added {
                path,
                info: Some(info),
            })
            .boxed()
    }
}

impl Sample for AddToStore {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        let methods = match context.version.has_framed_add() {
            true => vec![
                ContentAddressMethod::Text,
                ContentAddressMethod::Flat,
                ContentAddressMethod::Recursive,
                ContentAddressMethod::Git,
            ],
            false => vec![ContentAddressMethod::Flat, ContentAddressMethod::Recursive],
        };
        let algorithm = select(HashAlgorithm::ALL);
        (
            Text::sample(context),
            select(methods),
            algorithm,
            Sample::sample(context),
            any::<bool>(),
        )
            .prop_map(|(name, method, algorithm, references, repair)| AddToStore {
                name,
                method,
                algorithm,
                references,
                repair,
            })
            .boxed()
    }
}

impl Sample for SetOptions {
    fn sample(context: &Context) -> BoxedStrategy<Self> {
        (
            any::<[bool; 6]>(),
            any::<[u64; 5]>(),
            Sample::sample(context),
        )
            .prop_map(|(flags, numbers, settings)| SetOptions {
                keep_failed: flags[0],
                keep_going: flags[1],
                fallback: flags[2],
                use_substitutes: flags[3],
                print_build_trace: flags[4],
                use_build_hook: flags[5],
                verbosity: numbers[0],
                max_build_jobs: numbers[1],
                max_silent_time: numbers[2],
                build_verbosity: numbers[3],
                build_cores: numbers[4],
                settings,
            })
            .boxed()
    }
}

/// Any log message.
pub fn log() -> impl Strategy<Value = Log> {
    let text = || vec(any::<u8>(), 0..20).prop_map(Text::from);
    let field = prop_oneof![
        any::<u64>().prop_map(Field::Number),
        text().prop_map(Field::Text)
    ];
    let fields = vec(field, 0..4);
    let start = (any::<[u64; 4]>(), text(), fields.clone());
    prop_oneof![
        text().prop_map(Log::Next),
        start.prop_map(|(numbers, text, fields)| Log::StartActivity {
            id: numbers[0],
            level: Level(numbers[1]),
            kind: ActivityKind(numbers[2]),
            text,
            fields,
            parent: numbers[3],
        }),
        any::<u64>().prop_map(|id| Log::StopActivity { id }),
        (any::<u64>(), 100..110_u64, fields).prop_map(|(id, kind, fields)| Log::Result {
            id,
            kind: ResultKind(kind),
            fields,
        }),
    ]
}

/// Any error of a peer, as far as the version can tell it.
pub fn remote_error(version: Version) -> impl Strategy<Value = RemoteError> {
    let text = || "[ -~]{0,20}".prop_map(Text::from);
    (any::<u64>(), text(), vec(text(), 0..3)).prop_map(move |(number, message, traces)| {
        match version.has_structured_errors() {
            true => RemoteError {
                level: Level(number),
                message,
                traces,
                status: None,
            },
            false => RemoteError::new(message).with_status(number.max(1)),
        }
    })
}
