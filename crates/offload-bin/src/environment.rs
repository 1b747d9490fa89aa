//! What the library is told of the environment that the program runs in.

use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User, gethostname};
use offload::hook::{GuixSurroundings, Surroundings};
use offload::link::{Identity, Timeouts};
use offload::local::{
    GuixDirectories, GuixKeys, GuixProgram, HostBounds, Limits, StoreDirectories,
};
use offload::machines::scheme::{GuixRepl, MachineFile, Way, read_machine_file};
use offload::machines::{FileWatch, IncludeError, MachineList, Origin, Problem};
use offload::store;

use crate::guix;

/// The variable that changes how long is waited for a machine, and for a client of the store endpoint:
/// `NAME=SECONDS`, separated by commas.
const BOUNDS: &str = "OFFLOAD_BOUNDS";

/// The variable that changes what a machine may make this host write: `NAME=BYTES`, separated by commas.
const LIMITS: &str = "OFFLOAD_LIMITS";

/// The variable that names the broker's socket; empty, it means that there is none.
const BROKER: &str = "OFFLOAD_BROKER";

/// Where the broker's socket is otherwise.
pub(crate) const BROKER_SOCKET: &str = "/run/offload/broker.sock";

/// Reads `NIX_STORE_DIR`, `NIX_STATE_DIR`, `OFFLOAD_BOUNDS`, and who runs this.
pub(crate) fn surroundings() -> Surroundings {
    endpoint_surroundings().0
}

/// The same, and what `OFFLOAD_BOUNDS` says of the endpoint's clients.
pub(crate) fn endpoint_surroundings() -> (Surroundings, store::Bounds) {
    let defaults = StoreDirectories::default();
    let bounds = bounds();
    let surroundings = Surroundings {
        directories: StoreDirectories {
            store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
            state: variable("NIX_STATE_DIR").map_or(defaults.state, PathBuf::from),
        },
        programs: nix_programs().unwrap_or_default(),
        identity: identity(),
        timeouts: bounds.timeouts,
        bounds: bounds.host,
    };
    (surroundings, bounds.clients)
}

/// The folder that the daemon's own program is in, which called this one as a hook.
fn nix_programs() -> Option<PathBuf> {
    let daemon = std::fs::read_link(format!("/proc/{}/exe", parent_id())).ok()?;
    let folder = daemon.parent()?;
    folder.join("nix-store").exists().then(|| folder.to_owned())
}

/// How long is waited, and for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bounds {
    /// For a machine.
    timeouts: Timeouts,
    /// For a client of the store endpoint.
    clients: store::Bounds,
    /// For others on this host.
    host: HostBounds,
}

fn bounds() -> Bounds {
    let text = variable(BOUNDS).unwrap_or_default();
    parse_bounds(&text).unwrap_or_else(|problem| {
        eprintln!("offload: {BOUNDS} is left aside: {problem}");
        Default::default()
    })
}

/// Reads what guix-daemon reads of the environment.
pub(crate) fn guix_surroundings() -> GuixSurroundings {
    let directories = guix_directories();
    let bounds = bounds();
    GuixSurroundings {
        keys: guix_keys(&directories),
        directories,
        identity: identity(),
        timeouts: bounds.timeouts,
        limits: limits(),
        bounds: bounds.host,
    }
}

/// Reads `NIX_STORE_DIR` and the variables of Guix's directories, as guix-daemon does.
pub(crate) fn guix_directories() -> GuixDirectories {
    let defaults = GuixDirectories::default();
    let directory = |name, default: PathBuf| variable(name).map_or(default, PathBuf::from);
    let state = directory("GUIX_STATE_DIRECTORY", defaults.state);
    GuixDirectories {
        store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
        database: directory("GUIX_DATABASE_DIRECTORY", state.join("db")),
        state,
        configuration: directory("GUIX_CONFIGURATION_DIRECTORY", defaults.configuration),
    }
}

/// Guix's keys, and the real `guix` for those that are not understood here.
pub(crate) fn guix_keys(directories: &GuixDirectories) -> GuixKeys {
    GuixKeys {
        directory: directories.configuration.clone(),
        guix: guix::program().ok().map(|path| GuixProgram {
            path,
            patience: bounds().host.program,
        }),
    }
}

/// Where Guix's machines are listed.
pub(crate) fn guix_list(directories: &GuixDirectories) -> PathBuf {
    directories.configuration.join("machines.scm")
}

/// This host's `machines.scm` when it is first asked for, and later where it has changed since.
pub(crate) fn guix_machines_anew() -> impl AsyncFnMut() -> Option<MachineList> {
    let directories = guix_directories();
    let mut watch = FileWatch::new(guix_list(&directories));
    async move || match watch.has_changed() {
        true => Some(guix_machines(&directories, None).await.list),
        false => None,
    }
}

/// What `file` says, which has to be there, or this host's `machines.scm`; its programs see the home directory of the
/// user database, as they do with stock.
pub(crate) async fn guix_machines(
    directories: &GuixDirectories,
    file: Option<&Path>,
) -> MachineFile {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let home = user.map(|user| user.dir);
    let evaluator = guix::program().ok().map(|program| GuixRepl {
        home: home.clone(),
        cache: Some(directories.state.join("offload/machines")),
        limit: bounds().host.program,
        ..GuixRepl::new(program)
    });
    let look_up = |name: &str| match (name, &home) {
        ("HOME", Some(home)) => home.to_str().map(str::to_owned),
        _ => std::env::var(name).ok(),
    };
    let path = file.map_or_else(|| guix_list(directories), Path::to_owned);
    let mut read = read_machine_file(&path, &look_up, evaluator.as_ref()).await;
    if file.is_some() && read.way == Way::NoFile {
        read.list.problems.push(Problem {
            origin: Origin {
                source: path.display().to_string(),
                line: 1,
                column: None,
            },
            kind: IncludeError::Missing.into(),
        });
    }
    read
}

/// Reads `OFFLOAD_LIMITS`.
fn limits() -> Limits {
    variable(LIMITS).map_or_else(Limits::default, |text| {
        parse_limits(&text).unwrap_or_else(|problem| {
            eprintln!("offload: {LIMITS} is left aside: {problem}");
            Limits::default()
        })
    })
}

/// Reads `output=64G,free-disk=500M`, each in bytes; what is not named keeps its default.
fn parse_limits(text: &str) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for pair in text.split(',') {
        let (name, size) = pair.split_once('=').unwrap_or((pair, ""));
        let limit = match name.trim() {
            "output" => &mut limits.output,
            "free-disk" => &mut limits.free_disk,
            _ => return Err(format!("no limit is called {name:?}")),
        };
        *limit = bytes(size.trim())
            .ok_or_else(|| format!("{name} is no number of bytes (K, M, G, T): {size:?}"))?;
    }
    Ok(limits)
}

/// `500M`
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &size[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads `connect=5,key-exchange=5,authentication=5,channel=5,greeting=5,answer=600,lock=30,keep-alive=2.5`, for
/// others on this host `output-lock=600,database=60,program=60`, and for clients
/// `client-greeting=5,client-request=30,client-silence=60,client-idle=3600`, each in seconds, and
/// `keep-alive-misses=3`, which is a number; what is not named keeps its default.
fn parse_bounds(text: &str) -> Result<Bounds, String> {
    let mut bounds = Bounds::default();
    let Bounds {
        timeouts,
        clients,
        host,
    } = &mut bounds;
    let pairs = text.split(',').filter(|_| !text.is_empty());
    for pair in pairs {
        let (name, seconds) = pair.split_once('=').unwrap_or((pair, ""));
        let bound = match name.trim() {
            "connect" => &mut timeouts.connect,
            "key-exchange" => &mut timeouts.key_exchange,
            "authentication" => &mut timeouts.authentication,
            "channel" => &mut timeouts.channel,
            "greeting" => &mut timeouts.greeting,
            "answer" => &mut timeouts.answer,
            "lock" => &mut timeouts.lock,
            "keep-alive" => &mut timeouts.keep_alive,
            "keep-alive-misses" => {
                timeouts.keep_alive_misses = (seconds.trim().parse().ok())
                    .filter(|misses| *misses > 0)
                    .ok_or_else(|| format!("{name} is no whole number above zero: {seconds:?}"))?;
                continue;
            }
            "output-lock" => &mut host.output_lock,
            "database" => &mut host.database,
            "program" => &mut host.program,
            "client-greeting" => &mut clients.greeting,
            "client-request" => &mut clients.request,
            "client-silence" => &mut clients.silence,
            "client-idle" => &mut clients.idle,
            _ => return Err(format!("no bound is called {name:?}")),
        };
        *bound = (seconds.trim().parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|bound| !bound.is_zero())
            .ok_or_else(|| format!("{name} is no number of seconds above zero: {seconds:?}"))?;
    }
    Ok(bounds)
}

/// The user who runs this, and the environment that configuration files refer to. Daemons are often
/// started without `HOME` and `USER`, so the user database has the last word on the name and the
/// first after `HOME` on the directory.
fn identity() -> Identity {
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten();
    let home = std::env::home_dir().unwrap_or_else(|| Path::new("/").to_owned());
    let name = user.map_or_else(|| "root".to_owned(), |user| user.name);
    let mut identity = Identity::new(name, uid.as_raw(), home);
    let broker = std::env::var_os(BROKER).unwrap_or_else(|| BROKER_SOCKET.into());
    identity.broker = (!broker.is_empty()).then(|| PathBuf::from(broker));
    if let Ok(host) = gethostname() {
        identity.host_name = host.to_string_lossy().into_owned();
    }
    // What is not UTF-8 cannot be meant by a configuration file.
    identity.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_by_name() {
        let limits = Limits {
            output: 64 << 30,
            free_disk: 7,
        };
        assert_eq!(parse_limits("output=64G, free-disk=7"), Ok(limits));
        let wrong = [
            "outputs=1",
            "output",
            "output=1KM",
            "output=-1",
            "free-disk=99999999T",
        ];
        insta::assert_snapshot!(wrong.map(|text| parse_limits(text).unwrap_err()).join("\n"), @r#"
        no limit is called "outputs"
        output is no number of bytes (K, M, G, T): ""
        output is no number of bytes (K, M, G, T): "1KM"
        output is no number of bytes (K, M, G, T): "-1"
        free-disk is no number of bytes (K, M, G, T): "99999999T"
        "#);
    }

    #[test]
    fn bounds_are_seconds_by_name() {
        let defaults = Timeouts::default();
        assert_eq!(
            parse_bounds(
                "connect=5, keep-alive=0.5,keep-alive-misses=2,client-silence=7,output-lock=9"
            ),
            Ok(Bounds {
                timeouts: Timeouts {
                    connect: Duration::from_secs(5),
                    keep_alive: Duration::from_millis(500),
                    keep_alive_misses: 2,
                    ..defaults
                },
                clients: store::Bounds {
                    silence: Duration::from_secs(7),
                    ..store::Bounds::default()
                },
                host: HostBounds {
                    output_lock: Duration::from_secs(9),
                    ..HostBounds::default()
                },
            })
        );
        let wrong = [
            "patience=5",
            "connect",
            "connect=0",
            "channel=-1",
            "channel=1e99",
            "keep-alive-misses=1.5",
        ];
        insta::assert_snapshot!(wrong.map(|text| parse_bounds(text).unwrap_err()).join("\n"), @r#"
        no bound is called "patience"
        connect is no number of seconds above zero: ""
        connect is no number of seconds above zero: "0"
        channel is no number of seconds above zero: "-1"
        channel is no number of seconds above zero: "1e99"
        keep-alive-misses is no whole number above zero: "1.5"
        "#);
    }
}
