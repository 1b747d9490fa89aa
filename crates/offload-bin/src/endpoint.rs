//! What the endpoint serves its clients with: this host, and a machine list that may change meanwhile.

use std::path::PathBuf;
use std::rc::Rc;

use offload::local::{NixPrograms, StoreLocation};
use offload::machines::{Problem, Reread, WatchedList};
use offload::store::Coordinator;

use crate::environment::endpoint_surroundings;
use crate::lists;
use crate::store::Sizes;

/// See the module's text.
pub(crate) struct Endpoint {
    list: WatchedList,
    coordinator: Rc<Coordinator>,
}

impl Endpoint {
    /// Reads the machine list `machines`, or else the endpoint's own. What is wrong in it goes to standard error.
    ///
    /// # Errors
    /// When the environment makes no sense.
    pub(crate) fn open(machines: Option<String>, sizes: Sizes) -> Result<Self, String> {
        let (surroundings, bounds) = endpoint_surroundings();
        let list = WatchedList::new(move || lists::read_endpoint(machines.as_deref()));
        tell(&list.list().problems);
        let directories = surroundings.directories;
        let location = StoreLocation::from_setting("", &directories);
        let socket = std::env::var_os("NIX_DAEMON_SOCKET_PATH").map(PathBuf::from);
        let coordinator = Coordinator {
            machines: list.list().machines.clone(),
            location: location.map_err(|error| error.to_string())?,
            programs: NixPrograms {
                folder: surroundings.programs,
                store: "auto".to_owned(),
            },
            daemon_socket: socket.unwrap_or_else(|| directories.state.join("daemon-socket/socket")),
            state_dir: directories.state,
            identity: surroundings.identity,
            timeouts: surroundings.timeouts,
            host_bounds: surroundings.bounds,
            bounds: sizes.bound(bounds),
        };
        Ok(Endpoint {
            list,
            coordinator: Rc::new(coordinator),
        })
    }

    /// What to say where there is no machine.
    pub(crate) fn no_machine(&self) -> String {
        let files = self.list.list().files.iter();
        let files: Vec<_> = files.map(|file| file.path.display().to_string()).collect();
        let places = match files.is_empty() {
            true => "the list".to_owned(),
            false => files.join(" and "),
        };
        format!("there is no machine to build on in {places}; --machines names another list")
    }

    /// For one client, which keeps it.
    pub(crate) fn coordinator(&self) -> Rc<Coordinator> {
        self.coordinator.clone()
    }

    /// Reads the machine list anew if it has changed. Those who are served already keep the one that they have.
    pub(crate) fn refresh(&mut self) {
        match self.list.refresh() {
            Reread::Unchanged => {}
            Reread::Taken => {
                let list = self.list.list();
                tell(&list.problems);
                let machines = list.machines.clone();
                eprintln!("offload: the machine list has changed");
                self.coordinator = Rc::new(Coordinator {
                    machines,
                    ..(*self.coordinator).clone()
                });
            }
            Reread::Refused(list) => {
                tell(&list.problems);
                let why = match list.machines.is_empty() {
                    true => "there is no machine in it",
                    false => "not all of it is understood",
                };
                eprintln!(
                    "offload: the machine list has changed, and the one of before counts: {why}"
                );
            }
        }
    }
}

fn tell(problems: &[Problem]) {
    for problem in problems {
        eprintln!("offload: {problem}");
    }
}
