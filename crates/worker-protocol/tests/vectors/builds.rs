//! Builds: what is to be built, and what became of it.

use std::collections::BTreeMap;

use worker_protocol::operation::{
    BuildDerivation, BuildPaths, BuildPathsWithResults, EnsurePath, QueryMissing, QueryRealisation,
    Realised, RegisterDrvOutput,
};
use worker_protocol::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, DerivedPath, Done,
    DrvOutput, Outputs, Realisation,
};

use crate::notation::{hash, path};
use crate::table::{Table, all, guix, nix};

/// The JSON text of [`realisation`], as Nix writes it.
const REALISATION: &str = concat!(
    r#"'{"dependentRealisations":"#,
    r#"{"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f!dev":"#,
    r#""22222222222222222222222222222222-c"},"#,
    r#""id":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f!out","#,
    r#""outPath":"00000000000000000000000000000000-a","signatures":["key:c2ln"]}'"#
);

/// The text of [`output`].
const OUTPUT: &str =
    "'sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f!out'";

fn output(name: &str) -> DrvOutput {
    DrvOutput {
        derivation_hash: hash(),
        output: name.into(),
    }
}

pub(crate) fn realisation() -> Realisation {
    let mut realisation = Realisation::new(output("out"), path('A'));
    realisation.signatures = ["key:c2ln".into()].into();
    realisation.dependent_realisations = [(output("dev"), path('C'))].into();
    realisation
}

/// A result with something in every field.
pub(crate) fn result() -> BuildResult {
    let mut result = BuildResult::new(BuildStatus::Built);
    result.error = "it hurt".into();
    result.times_built = 2;
    result.is_non_deterministic = true;
    result.start_time = 1_600_000_000;
    result.stop_time = 1_600_000_010;
    result.cpu_user = Some(1_500_000);
    result.built_outputs = [(output("out"), realisation())].into();
    result
}

pub(crate) const TIMES: &str = "2 1 1600000000 1600000010";

pub(crate) fn built_outputs() -> String {
    format!("1 {OUTPUT} {REALISATION}")
}

/// A derivation with something in every field.
pub(crate) fn derivation() -> BasicDerivation {
    let fixed = BasicOutput {
        path: "/somewhere".into(),
        hash_algorithm: "r:sha256".into(),
        hash: "0102".into(),
    };
    BasicDerivation {
        outputs: [
            ("dev".into(), BasicOutput::default()),
            ("out".into(), fixed),
        ]
        .into(),
        input_sources: [path('A'), path('B')].into(),
        platform: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        arguments: vec!["-c".into(), "true".into()],
        environment: [("a".into(), "1".into()), ("b".into(), "".into())].into(),
    }
}

pub(crate) const DERIVATION: &str = "\
    2 'dev' '' '' ''  'out' '/somewhere' 'r:sha256' '0102'
    2 A B
    'x86_64-linux' '/bin/sh' 2 '-c' 'true'
    2 'a' '1' 'b' ''";

pub(crate) fn vectors(table: &mut Table) {
    targets(table);
    results(table);
    realisations(table);
    let ensure = (EnsurePath { path: path('A') }, "10 A");
    table.operation(all(), ensure, (Done, "1"));
}

fn built(outputs: Outputs) -> DerivedPath {
    DerivedPath::Built {
        derivation: path('D'),
        outputs,
    }
}

fn targets(table: &mut Table) {
    let names = || built(Outputs::Names(["dev".into(), "out".into()].into()));
    let some_outputs = "'/nix/store/33333333333333333333333333333333-d.drv!dev,out'";
    let all_outputs = "'/nix/store/33333333333333333333333333333333-d.drv!*'";
    let every = || {
        let opaque = DerivedPath::Opaque(path('A'));
        vec![opaque, names(), built(Outputs::All)]
    };
    let build = |mode| BuildPaths {
        targets: every(),
        mode,
    };
    // Before 1.30 a derivation stands for all of its outputs.
    let bytes = format!("9 3 A {some_outputs} D 0");
    table.request(nix(18..=29), build(BuildMode::Normal), &bytes);
    let bytes = format!("9 3 A {some_outputs} {all_outputs} 1");
    table.request(nix(30..=38), build(BuildMode::Repair), &bytes);
    let bytes = "9 3 A '/gnu/store/33333333333333333333333333333333-d.drv!dev,out' D 2";
    table.request(guix(0x60..=0x64), build(BuildMode::Check), bytes);
    table.reply::<BuildPaths>(all(), Done, "1");

    // The derivation itself.
    let itself = || vec![DerivedPath::Opaque(path('D'))];
    let missing = |targets| QueryMissing { targets };
    table.request(nix(30..=38), missing(itself()), "40 1 D");
    table.request(nix(19..=29), missing(vec![built(Outputs::All)]), "40 1 D");

    let build = BuildPathsWithResults {
        targets: vec![names()],
        mode: BuildMode::Normal,
    };
    let bytes = format!("46 1 {some_outputs} 0");
    table.request(nix(34..=38), build, &bytes);
}

fn results(table: &mut Table) {
    let build = BuildDerivation {
        path: path('D'),
        derivation: derivation(),
        mode: BuildMode::Normal,
    };
    let bytes = format!("36 D {DERIVATION} 0");
    table.request(nix(18..=38), build, &bytes);

    let mut early = BuildResult::new(BuildStatus::Built);
    early.error = "it hurt".into();

    let mut with_outputs = early.clone();
    with_outputs.built_outputs = result().built_outputs;

    let mut without_cpu = result();
    without_cpu.cpu_user = None;

    let outputs = built_outputs();
    let layouts = [
        (18..=27, early, "0 'it hurt'".to_owned()),
        (28..=28, with_outputs, format!("0 'it hurt' {outputs}")),
        (
            29..=36,
            without_cpu,
            format!("0 'it hurt' {TIMES} {outputs}"),
        ),
        (
            37..=38,
            result(),
            format!("0 'it hurt' {TIMES} 1 1500000 0 {outputs}"),
        ),
    ];
    for (minors, read, bytes) in layouts {
        table.partial_reply::<BuildDerivation>(nix(minors.clone()), result(), read.clone(), &bytes);
        let minors = (*minors.start()).max(34)..=*minors.end();
        let bytes = format!("1 A {bytes}");
        let several = |result| vec![(DerivedPath::Opaque(path('A')), result)];
        table.partial_reply::<BuildPathsWithResults>(
            nix(minors),
            several(result()),
            several(read),
            &bytes,
        );
    }

    for (number, status) in [
        (1, BuildStatus::Substituted),
        (2, BuildStatus::AlreadyValid),
        (3, BuildStatus::PermanentFailure),
        (4, BuildStatus::InputRejected),
        (5, BuildStatus::OutputRejected),
        (6, BuildStatus::TransientFailure),
        (7, BuildStatus::CachedFailure),
        (8, BuildStatus::TimedOut),
        (9, BuildStatus::MiscFailure),
        (10, BuildStatus::DependencyFailed),
        (11, BuildStatus::LogLimitExceeded),
        (12, BuildStatus::NotDeterministic),
        (13, BuildStatus::ResolvesToAlreadyValid),
        (14, BuildStatus::NoSubstituters),
        (15, BuildStatus::HashMismatch),
        (16, BuildStatus::Cancelled),
        (17, BuildStatus::from_number(17)),
    ] {
        let bytes = format!("{number} ''");
        table.reply::<BuildDerivation>(nix(18..=27), BuildResult::new(status), &bytes);
    }
}

fn realisations(table: &mut Table) {
    let register = |realisation| RegisterDrvOutput { realisation };
    let mut plain = realisation();
    plain.signatures = [].into();
    plain.dependent_realisations = BTreeMap::new();

    let bytes = format!("42 {OUTPUT} '00000000000000000000000000000000-a'");
    let read = register(plain);
    table.partial_request(nix(27..=30), register(realisation()), read, &bytes);
    let bytes = format!("42 {REALISATION}");
    table.request(nix(31..=38), register(realisation()), &bytes);
    table.reply::<RegisterDrvOutput>(nix(27..=38), (), "");

    let query = QueryRealisation {
        output: output("out"),
    };
    table.request(nix(27..=38), query, &format!("43 {OUTPUT}"));
    let whole = vec![Realised::Realisation(realisation())];
    let path = vec![Realised::Path(path('A'))];
    table.partial_reply::<QueryRealisation>(nix(27..=30), whole.clone(), path, "1 A");
    table.reply::<QueryRealisation>(nix(31..=38), whole, &format!("1 {REALISATION}"));
    table.reply::<QueryRealisation>(nix(27..=38), vec![], "0");
}
