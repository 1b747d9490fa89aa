//! What is asked about paths.

use std::collections::{BTreeMap, BTreeSet};

use store_path::{ContentAddress, ContentAddressMethod};
use worker_protocol::operation::{
    HasSubstitutes, IsValidPath, Missing, QueryAllValidPaths, QueryDerivationOutputMap,
    QueryDerivationOutputNames, QueryDerivationOutputs, QueryDeriver, QueryMissing,
    QueryPathFromHashPart, QueryPathHash, QueryPathInfo, QueryReferences, QueryReferrers,
    QuerySubstitutablePathInfo, QuerySubstitutablePathInfos, QuerySubstitutablePaths,
    QueryValidDerivers, QueryValidPaths, SubstitutableInfo,
};
use worker_protocol::{DerivedPath, PathInfo};

use crate::notation::{hash, nar_hash, path};
use crate::table::{Table, all, guix, nix};

/// A path info with something in every field.
pub(crate) fn info() -> PathInfo {
    PathInfo::new(nar_hash(), 120)
        .with_deriver(path('D'))
        .with_references([path('A'), path('B')])
        .with_registration_time(1_600_000_000)
        .with_ultimate(true)
        .with_signatures(["cache-1:c2ln", "other:c2ln"])
        .with_content_address(address())
}

/// What all versions say of [`info`].
pub(crate) const INFO: &str = "D H 2 A B 1600000000 120";

/// What Nix says besides.
pub(crate) const INFO_OF_NIX: &str = "1 2 'cache-1:c2ln' 'other:c2ln' 'fixed:r:sha256:07qy3lf1n6hr30bic58l2c91240g1q6hq2qa1440f1h50h1h4080'";

/// A path info with nothing in any field that can be empty.
pub(crate) fn bare_info() -> PathInfo {
    PathInfo::new(nar_hash(), 0)
}

fn address() -> ContentAddress {
    ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash: hash(),
    }
}

pub(crate) fn vectors(table: &mut Table) {
    validity(table);
    path_info(table);
    relations(table);
    derivations(table);
    substitutes(table);
}

fn validity(table: &mut Table) {
    let is_valid = IsValidPath { path: path('A') };
    table.operation(all(), (is_valid, "1 A"), (true, "1"));
    table.reply::<IsValidPath>(all(), false, "0");

    let query = |substitute| QueryValidPaths {
        paths: [path('A'), path('B')].into(),
        substitute,
    };
    let old = || [nix(18..=26), guix(0x60..=0x64)].concat();
    table.partial_request(old(), query(true), query(false), "31 2 A B");
    table.request(nix(27..=38), query(true), "31 2 A B 1");
    table.request(nix(27..=38), query(false), "31 2 A B 0");
    table.reply::<QueryValidPaths>(all(), [path('B')].into(), "1 B");

    let everything = [path('A'), path('D')].into();
    let all_valid = (QueryAllValidPaths {}, "23");
    table.operation(all(), all_valid, (everything, "2 A D"));
    table.reply::<QueryAllValidPaths>(all(), [].into(), "0");
}

fn path_info(table: &mut Table) {
    table.request(all(), QueryPathInfo { path: path('A') }, "26 A");
    let reply = Some(info());
    let bytes = format!("1 {INFO} {INFO_OF_NIX}");
    table.reply::<QueryPathInfo>(nix(18..=38), reply, &bytes);
    let bytes = "1 '' H 0 0 0  0 0 ''";
    table.reply::<QueryPathInfo>(nix(18..=38), Some(bare_info()), bytes);
    table.reply::<QueryPathInfo>(nix(18..=38), None, "0");

    // Guix says nothing of signatures, and an error where there is no path.
    let unsigned = info()
        .with_ultimate(false)
        .with_signatures([""; 0])
        .with_content_address(None);
    let guix = || guix(0x60..=0x64);
    table.partial_reply::<QueryPathInfo>(guix(), Some(info()), Some(unsigned), INFO);
    table.reply::<QueryPathInfo>(guix(), Some(bare_info()), "'' H 0 0 0");
}

fn relations(table: &mut Table) {
    let two: fn() -> BTreeSet<_> = || [path('A'), path('B')].into();
    let hash_of = (QueryPathHash { path: path('A') }, "4 A");
    table.operation(all(), hash_of, (nar_hash(), "H"));
    let references = (QueryReferences { path: path('A') }, "5 A");
    table.operation(all(), references, (two(), "2 A B"));
    let referrers = (QueryReferrers { path: path('A') }, "6 A");
    table.operation(all(), referrers, (two(), "2 A B"));
    let derivers = (QueryValidDerivers { path: path('A') }, "33 A");
    table.operation(all(), derivers, ([path('D')].into(), "1 D"));
    let deriver = (QueryDeriver { path: path('A') }, "18 A");
    table.operation(all(), deriver, (Some(path('D')), "D"));
    table.reply::<QueryDeriver>(all(), None, "''");
    let part = QueryPathFromHashPart {
        hash_part: "00000000000000000000000000000000".into(),
    };
    let part = (part, "29 '00000000000000000000000000000000'");
    table.operation(all(), part, (Some(path('A')), "A"));
    table.reply::<QueryPathFromHashPart>(all(), None, "''");
}

fn derivations(table: &mut Table) {
    let outputs = (QueryDerivationOutputs { path: path('D') }, "22 D");
    table.operation(all(), outputs, ([path('A')].into(), "1 A"));
    let names = (QueryDerivationOutputNames { path: path('D') }, "28 D");
    let reply = vec!["dev".into(), "out".into()];
    table.operation(all(), names, (reply, "2 'dev' 'out'"));
    let map = (QueryDerivationOutputMap { path: path('D') }, "41 D");
    let known = [("dev".into(), None), ("out".into(), Some(path('A')))];
    let reply = BTreeMap::from(known);
    table.operation(nix(22..=38), map, (reply, "2 'dev' '' 'out' A"));
}

fn substitutes(table: &mut Table) {
    let has = (HasSubstitutes { path: path('A') }, "3 A");
    table.operation(all(), has, (true, "1"));
    let paths = [path('A'), path('B')].into();
    let which = (QuerySubstitutablePaths { paths }, "32 2 A B");
    table.operation(all(), which, ([path('B')].into(), "1 B"));

    let known = || {
        let mut info = SubstitutableInfo::default();
        info.deriver = Some(path('D'));
        info.references = [path('B')].into();
        info.download_size = 50;
        info.nar_size = 120;
        info
    };
    let one = (QuerySubstitutablePathInfo { path: path('A') }, "21 A");
    table.operation(nix(18..=38), one, (Some(known()), "1 D 1 B 50 120"));
    table.reply::<QuerySubstitutablePathInfo>(nix(18..=38), None, "0");

    let with = |address| QuerySubstitutablePathInfos {
        paths: [(path('A'), address), (path('B'), None)].into(),
    };
    let bytes = "30 2 A 'fixed:r:sha256:07qy3lf1n6hr30bic58l2c91240g1q6hq2qa1440f1h50h1h4080' B ''";
    table.request(nix(22..=38), with(Some(address())), bytes);
    let old = [nix(18..=21), guix(0x60..=0x64)].concat();
    table.partial_request(old, with(Some(address())), with(None), "30 2 A B");
    let reply = vec![
        (path('A'), known()),
        (path('B'), SubstitutableInfo::default()),
    ];
    let bytes = "2  A D 1 B 50 120  B '' 0 0 0";
    table.reply::<QuerySubstitutablePathInfos>(all(), reply, bytes);

    let missing = QueryMissing {
        targets: vec![DerivedPath::Opaque(path('A'))],
    };
    let mut reply = Missing::default();
    reply.will_build = [path('D')].into();
    reply.will_substitute = [path('B'), path('C')].into();
    reply.unknown = [path('A')].into();
    reply.download_size = 7;
    reply.nar_size = 9;

    let missing = (missing, "40 1 A");
    table.operation(nix(19..=38), missing, (reply, "1 D 2 B C 1 A 7 9"));
}
