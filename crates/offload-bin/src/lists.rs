//! Where this host's machines are listed.

use std::path::PathBuf;

use offload::machines::{HostLists, MachineList, host_system, read_list};

/// Reads `list`, or this host's own lists.
pub(crate) fn read(list: Option<&str>) -> MachineList {
    let system = host_system(std::env::consts::ARCH, std::env::consts::OS);
    match list {
        Some(list) => read_list(list, &system),
        None => host_lists().read(&system),
    }
}

/// This host's own lists, where the environment says.
fn host_lists() -> HostLists {
    let defaults = HostLists::default();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    HostLists {
        nix: variable("NIX_CONF_DIR").map_or(defaults.nix, PathBuf::from),
        nix_config: variable("NIX_CONFIG").unwrap_or_default(),
        own: defaults.own,
    }
}
