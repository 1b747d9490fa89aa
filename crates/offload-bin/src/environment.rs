//! What the library is told of the environment that the program runs in.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use offload::fleet::Identity;
use offload::hook::{GuixSurroundings, Surroundings};
use offload::link::Timeouts;
use offload::local::{GuixDirectories, StoreDirectories};

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
pub(crate) fn guix_surroundings() -> GuixSurroundings {
    let defaults = GuixDirectories::default();
    let directory = |name, default: PathBuf| variable(name).map_or(default, PathBuf::from);
    let state = directory("GUIX_STATE_DIRECTORY", defaults.state);
    let directories = GuixDirectories {
        store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
        database: directory("GUIX_DATABASE_DIRECTORY", state.join("db")),
        state,
        configuration: directory("GUIX_CONFIGURATION_DIRECTORY", defaults.configuration),
    };
    let file = directories.configuration.join("machines.scm");
    GuixSurroundings {
        machines: offload::machines::read_machines(&file),
        directories,
        identity: identity(),
        timeouts: Timeouts::default(),
    }
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
