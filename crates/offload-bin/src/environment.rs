//! What the library is told of the environment that the program runs in.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, gethostname};
use offload::hook::Surroundings;
use offload::link::{Identity, Timeouts};
use offload::local::StoreDirectories;

/// Reads `NIX_STORE_DIR`, `NIX_STATE_DIR`, and who runs this.
pub(crate) fn surroundings() -> Surroundings {
    let defaults = StoreDirectories::default();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Surroundings {
        directories: StoreDirectories {
            store: variable("NIX_STORE_DIR").unwrap_or(defaults.store),
            state: variable("NIX_STATE_DIR").map_or(defaults.state, PathBuf::from),
        },
        identity: identity(),
        timeouts: Timeouts::default(),
    }
}

/// The user who runs this, and the environment that configuration files refer to. Daemons are often started without `HOME` and `USER`, so the user
/// database has the last word on the name and the first after `HOME` on the directory.
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
