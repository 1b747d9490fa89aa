//! What the library is told of the environment that the program runs in.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use offload::fleet::Identity;
use offload::hook::{GuixSurroundings, Surroundings};
use offload::link::Timeouts;
use offload::local::{GuixDirectories, StoreDirectories};
use offload::machines::MachineList;
use offload::machines::scheme::{GuixRepl, read_machine_file};

use crate::guix;

/// Reads `NIX_STORE_DIR`, `NIX_STATE_DIR`, and who runs this.
pub(crate) fn surroundings() -> Surroundings {
    let defaults = StoreDirectories::default();
    Surroundings {
        directories: StoreDirectories {
            store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
            state: variable("NIX_STATE_DIR").map_or(defaults.state, PathBuf::from),
        },
        identity: identity(),
        timeouts: Timeouts::default(),
    }
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
        timeouts: Timeouts::default(),
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

/// The user who runs this. Daemons are often started without `HOME` and `USER`, so the user
/// database has the last word on the name and the first after `HOME` on the directory.
fn identity() -> Identity {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let home = std::env::home_dir().unwrap_or_else(|| Path::new("/").to_owned());
    let name = user.map_or_else(|| "root".to_owned(), |user| user.name);
    Identity::of(name, &home)
}
