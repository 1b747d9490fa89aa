//! What the commands about machines know of this host.

use offload::health::Health;
use offload::link::SshSettings;
use offload::local::StoreDirectories;
use offload::probe::{GuixHost, Probe};
use offload::slots::SlotDirectory;
use store_path::StoreDir;

use crate::environment::{guix_directories, guix_keys, surroundings};

/// This host, as the daemon's hook would find it if the same user ran it.
pub(crate) struct Context {
    pub(crate) probe: Probe,
    pub(crate) health: Health,
    pub(crate) slots: SlotDirectory,
    /// Who runs this: a hook is run by the daemon's user.
    pub(crate) user: String,
    /// This host's name.
    pub(crate) host: String,
}

impl Context {
    /// As Nix's hook, or as Guix's.
    ///
    /// # Errors
    /// When the environment makes no sense.
    pub(crate) fn of_process(is_guix: bool) -> Result<Self, String> {
        let surroundings = surroundings();
        let (store, guix, health, slots) = match is_guix {
            true => {
                let directories = guix_directories();
                let keys = guix_keys(&directories);
                let offload = directories.state.join("offload");
                let health = Health::open(offload.join("knowledge"));
                let slots = SlotDirectory::existing_guix(offload);
                (directories.store, Some(keys), health, slots)
            }
            false => {
                let StoreDirectories { store, state } = surroundings.directories;
                let health = Health::open(state.join("offload"));
                let slots = SlotDirectory::existing(state.join("current-load"));
                (store, None, health, slots)
            }
        };
        let identity = &surroundings.identity;
        Ok(Context {
            health,
            slots,
            user: identity.user.clone(),
            host: identity.host_name.clone(),
            probe: Probe {
                settings: SshSettings::read(identity),
                timeouts: surroundings.timeouts,
                store_dir: StoreDir::new(store).map_err(|error| error.to_string())?,
                guix: guix.map(|keys| GuixHost {
                    keys,
                    scratch: std::env::temp_dir(),
                }),
            },
        })
    }
}
