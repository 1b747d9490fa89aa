//! Roots, collections, options, and what only Guix has.

use worker_protocol::Done;
use worker_protocol::operation::{
    AddIndirectRoot, AddPermRoot, AddTempRoot, BuiltinBuilders, ClearFailedPaths, CollectGarbage,
    Collected, FindRoots, GarbageAction, Obsolete, OptimiseStore, QueryFailedPaths, SetOptions,
    SubstituteUrls, SyncWithGC, VerifyStore,
};

use crate::notation::path;
use crate::table::{Table, all, guix, nix};

pub(crate) fn vectors(table: &mut Table) {
    roots(table);
    collections(table);
    options(table);
    only_guix(table);
    let optimise = (OptimiseStore {}, "34");
    table.operation(all(), optimise, (Done, "1"));
    let verify = VerifyStore {
        check_contents: true,
        repair: false,
    };
    table.operation(all(), (verify, "35 1 0"), (true, "1"));
}

fn roots(table: &mut Table) {
    let temporary = (AddTempRoot { path: path('A') }, "11 A");
    table.operation(all(), temporary, (Done, "1"));
    let link = "/home/me/result".into();
    let indirect = (AddIndirectRoot { link }, "12 '/home/me/result'");
    table.operation(all(), indirect, (Done, "1"));
    let permanent = AddPermRoot {
        path: path('A'),
        link: "/home/me/result".into(),
    };
    let permanent = (permanent, "47 A '/home/me/result'");
    let made = ("/home/me/result".into(), "'/home/me/result'");
    table.operation(nix(36..=38), permanent, made);
    let found = vec![
        ("/proc/12/exe".into(), path('A')),
        ("{censored}".into(), path('B')),
    ];
    let bytes = "2 '/proc/12/exe' A '{censored}' B";
    table.operation(all(), (FindRoots {}, "14"), (found, bytes));
    table.operation(all(), (SyncWithGC {}, "13"), (Done, "1"));
}

fn collections(table: &mut Table) {
    for (number, action) in [
        (0, GarbageAction::ReturnLive),
        (1, GarbageAction::ReturnDead),
        (2, GarbageAction::DeleteDead),
        (3, GarbageAction::DeleteSpecific),
    ] {
        let collect = CollectGarbage {
            action,
            paths: vec![path('B'), path('A')],
            ignore_liveness: false,
            max_freed: u64::MAX,
            obsolete: [Obsolete; 3],
        };
        let bytes = format!("20 {number} 2 B A 0 =ffffffffffffffff 0 0 0");
        table.request(all(), collect, &bytes);
    }
    let mut collected = Collected::default();
    collected.paths = vec!["/nix/store/whatever".into(), "a path".into()];
    collected.bytes_freed = 70_000;

    let bytes = "2 '/nix/store/whatever' 'a path' 70000 0";
    table.reply::<CollectGarbage>(all(), collected, bytes);
}

fn options(table: &mut Table) {
    let set = |jobs, silence, cores| {
        let mut options = SetOptions::default();
        options.keep_failed = true;
        options.fallback = true;
        options.verbosity = 4;
        options.max_build_jobs = jobs;
        options.max_silent_time = silence;
        options.build_verbosity = 7;
        options.print_build_trace = true;
        options.build_cores = cores;
        options.use_substitutes = false;
        options.settings = [("a".into(), "1".into()), ("b".into(), "".into())].into();
        options
    };
    // The word 0 behind the build's verbosity is without meaning by now.
    let bytes = "19 1 0 1 4  2 60  1 7 0 1  3  0  2 'a' '1' 'b' ''";
    let old = [nix(18..=38), guix(0x60..=0x60)].concat();
    table.request(old, set(2, 60, 3), bytes);
    let pairs = "'build-cores' '3' 'build-max-jobs' '2' 'build-max-silent-time' '60'";
    let bytes = format!("19 1 0 1 4  1 7 0 1  0  5 'a' '1' 'b' '' {pairs}");
    table.request(guix(0x61..=0x64), set(2, 60, 3), &bytes);
    let bytes = "19 1 0 1 4  1 7 0 1  0  2 'a' '1' 'b' ''";
    table.request(guix(0x61..=0x64), set(1, 0, 0), bytes);
    // What is given as a setting stays as it was given.
    let mut given = set(1, 0, 0);
    given.settings = [("build-cores".into(), "03".into())].into();
    let bytes = "19 1 0 1 4  1 7 0 1  0  1 'build-cores' '03'";
    table.request(guix(0x61..=0x64), given, bytes);
    let mut unhooked = set(1, 0, 0);
    unhooked.use_build_hook = false;
    let bytes = "19 1 0 1 4  0 7 0 1  0  2 'a' '1' 'b' ''";
    table.request(guix(0x61..=0x64), unhooked, bytes);
    table.reply::<SetOptions>(all(), (), "");
}

fn only_guix(table: &mut Table) {
    let guix_all = || guix(0x60..=0x64);
    let failed = (QueryFailedPaths {}, "24");
    let paths = (vec!["/gnu/store/x".into()], "1 '/gnu/store/x'");
    table.operation(guix_all(), failed, paths);
    let clear = ClearFailedPaths {
        paths: vec!["*".into()],
    };
    table.operation(guix_all(), (clear, "25 1 '*'"), (Done, "1"));
    let names = vec!["download".into(), "git-download".into()];
    let names = (names, "2 'download' 'git-download'");
    table.operation(guix(0x61..=0x64), (BuiltinBuilders {}, "80"), names);
    let urls = vec!["https://ci.guix.gnu.org".into()];
    let urls = (urls, "1 'https://ci.guix.gnu.org'");
    table.operation(guix(0x64..=0x64), (SubstituteUrls {}, "81"), urls);
}
