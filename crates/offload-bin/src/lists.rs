//! Where this host's machines are listed.

use std::path::PathBuf;

use offload::machines::{HostLists, MachineList, host_system, read_list};

/// Reads `list`, or what this host's builds go by. A list that looks as if they did, and is not read, is told
/// on standard error.
pub(crate) fn read(list: Option<&str>) -> MachineList {
    if let Some(list) = list {
        return read_list(list, &system());
    }
    let lists = host_lists();
    let read = lists.read(&system());
    if lists.own_is_unused(&read) {
        let own = lists.own.display();
        eprintln!(
            "offload: {own} is not what builds of this host's daemon go by: builders of nix.conf names neither it \
             (builders = @{own}) nor the endpoint; given as the LIST it is looked at"
        );
    }
    read
}

/// Reads `list`, or what the endpoint of this host goes by.
pub(crate) fn read_endpoint(list: Option<&str>) -> MachineList {
    host_lists().read_endpoint(list, &system())
}

fn system() -> String {
    host_system(std::env::consts::ARCH, std::env::consts::OS)
}

/// This host's own lists, where the environment says.
fn host_lists() -> HostLists {
    let defaults = HostLists::default();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    HostLists {
        nix: variable("NIX_CONF_DIR").map_or(defaults.nix, PathBuf::from),
        nix_config: variable("NIX_CONFIG").unwrap_or_default(),
        own: defaults.own,
        program: std::env::current_exe().unwrap_or_default(),
    }
}
