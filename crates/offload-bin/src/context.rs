//! What the commands about machines know of this host.

use offload::health::Health;
use offload::link::SshSettings;
use offload::local::StoreDirectories;
use offload::probe::Probe;
use offload::slots::SlotDirectory;
use store_path::StoreDir;

use crate::environment::surroundings;

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
    /// # Errors
    /// When the environment makes no sense.
    pub(crate) fn of_process() -> Result<Self, String> {
        let surroundings = surroundings();
        let identity = &surroundings.identity;
        let StoreDirectories { store, state } = surroundings.directories;
        let store_dir = StoreDir::new(store).map_err(|error| error.to_string())?;
        Ok(Context {
            health: Health::open(state.join("offload")),
            slots: SlotDirectory::existing(state.join("current-load")),
            user: identity.user.clone(),
            host: identity.host_name.clone(),
            probe: Probe {
                settings: SshSettings::read(identity),
                timeouts: surroundings.timeouts,
                store_dir,
            },
        })
    }
}
