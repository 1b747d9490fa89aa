//! What the library is told of the environment that the program runs in.

use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User, gethostname};
use offload::hook::{GuixSurroundings, Surroundings};
use offload::link::{Identity, Timeouts};
use offload::local::{GuixDirectories, StoreDirectories};
use offload::machines::MachineList;
use offload::machines::scheme::{GuixRepl, read_machine_file};

use crate::guix;

/// The variable that changes how long is waited for a machine: `NAME=SECONDS`, separated by commas.
const BOUNDS: &str = "OFFLOAD_BOUNDS";

/// Reads `NIX_STORE_DIR`, `NIX_STATE_DIR`, `OFFLOAD_BOUNDS`, and who runs this.
pub(crate) fn surroundings() -> Surroundings {
    let defaults = StoreDirectories::default();
    Surroundings {
        directories: StoreDirectories {
            store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
            state: variable("NIX_STATE_DIR").map_or(defaults.state, PathBuf::from),
        },
        programs: nix_programs().unwrap_or_default(),
        identity: identity(),
        timeouts: timeouts(),
    }
}

/// The folder that the daemon's own program is in, which called this one as a hook.
fn nix_programs() -> Option<PathBuf> {
    let daemon = std::fs::read_link(format!("/proc/{}/exe", parent_id())).ok()?;
    let folder = daemon.parent()?;
    folder.join("nix-store").exists().then(|| folder.to_owned())
}

fn timeouts() -> Timeouts {
    variable(BOUNDS).map_or_else(Timeouts::default, |text| {
        bounds(&text).unwrap_or_else(|problem| {
            eprintln!("offload: {BOUNDS} is left aside: {problem}");
            Timeouts::default()
        })
    })
}

/// Reads what guix-daemon reads of the environment, and the machine list.
pub(crate) async fn guix_surroundings() -> GuixSurroundings {
    let defaults = GuixDirectories::default();
    let directory = |name, default: PathBuf| variable(name).map_or(default, PathBuf::from);
    let state = directory("GUIX_STATE_DIRECTORY", defaults.state);
    let directories = GuixDirectories {
        store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
        database: directory("GUIX_DATABASE_DIRECTORY", state.join("db")),
        state,
        configuration: directory("GUIX_CONFIGURATION_DIRECTORY", defaults.configuration),
    };
    GuixSurroundings {
        machines: guix_machines(&directories).await,
        directories,
        identity: identity(),
        timeouts: timeouts(),
    }
}

/// What `machines.scm` says; its programs see the home directory of the user database, as they do with stock.
async fn guix_machines(directories: &GuixDirectories) -> MachineList {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let home = user.map(|user| user.dir);
    let evaluator = guix::program().ok().map(|program| GuixRepl {
        home: home.clone(),
        cache: Some(directories.state.join("offload/machines")),
        ..GuixRepl::new(program)
    });
    let look_up = |name: &str| match (name, &home) {
        ("HOME", Some(home)) => home.to_str().map(str::to_owned),
        _ => std::env::var(name).ok(),
    };
    let file = directories.configuration.join("machines.scm");
    read_machine_file(&file, &look_up, evaluator.as_ref())
        .await
        .list
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads `connect=5,key-exchange=5,authentication=5,channel=5,greeting=5,keep-alive=2.5`, each in seconds;
/// what is not named keeps its default.
fn bounds(text: &str) -> Result<Timeouts, String> {
    let mut timeouts = Timeouts::default();
    for pair in text.split(',') {
        let (name, seconds) = pair.split_once('=').unwrap_or((pair, ""));
        let bound = match name.trim() {
            "connect" => &mut timeouts.connect,
            "key-exchange" => &mut timeouts.key_exchange,
            "authentication" => &mut timeouts.authentication,
            "channel" => &mut timeouts.channel,
            "greeting" => &mut timeouts.greeting,
            "keep-alive" => &mut timeouts.keep_alive,
            _ => return Err(format!("no bound is called {name:?}")),
        };
        *bound = (seconds.trim().parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|bound| !bound.is_zero())
            .ok_or_else(|| format!("{name} is no number of seconds above zero: {seconds:?}"))?;
    }
    Ok(timeouts)
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
    fn bounds_are_seconds_by_name() {
        let defaults = Timeouts::default();
        assert_eq!(
            bounds("connect=5, keep-alive=0.5"),
            Ok(Timeouts {
                connect: Duration::from_secs(5),
                keep_alive: Duration::from_millis(500),
                ..defaults
            })
        );
        let wrong = [
            "patience=5",
            "connect",
            "connect=0",
            "channel=-1",
            "channel=1e99",
        ];
        insta::assert_snapshot!(wrong.map(|text| bounds(text).unwrap_err()).join("\n"), @r#"
        no bound is called "patience"
        connect is no number of seconds above zero: ""
        connect is no number of seconds above zero: "0"
        channel is no number of seconds above zero: "-1"
        channel is no number of seconds above zero: "1e99"
        "#);
    }
}
