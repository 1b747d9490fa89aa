//! The endpoint's clients on a Unix socket: any number, within bounds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offload::store::{Presence, serve};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::endpoint::Endpoint;

/// How many file descriptors a client needs: its connection, twice, the store and its database, the
/// daemon's socket, a connection to a machine with its files, a slot and a ticket.
const DESCRIPTORS: u64 = 17;
/// How many there are beside those of clients.
const OWN_DESCRIPTORS: u64 = 64;
/// Pause after a client could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves clients on a socket until the process ends, at most `max_clients` at a time and half as many of
/// one user. More wait; of a user who has too many, they are turned away. Each is served with the machine list
/// as it is when it connects.
///
/// # Errors
/// When there is no socket to listen on.
pub(crate) async fn listen(
    path: &Path,
    mut endpoint: Endpoint,
    max_clients: usize,
) -> Result<(), String> {
    let listener = listener(path)?;
    let max_clients = affordable(max_clients);
    let places = Arc::new(Semaphore::new(max_clients));
    let guests = Guests::new(max_clients.div_ceil(2));
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.map_err(|error| error.to_string())?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, as a rule: others may give some back.
                eprintln!("offload: failed to accept a client: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // The daemon trusts us; a client of somebody else gets no more than the daemon would give it.
        let own = nix::unistd::geteuid().as_raw();
        let user = stream.peer_cred().map(|peer| peer.uid());
        let is_trusted = user.is_ok_and(|user| user == 0 || user == own);
        let presence = Presence::of_socket(&stream)
            .map_err(|error| format!("failed to watch a client: {error}"));
        let let_in = presence.and_then(|presence| Ok((presence, guests.let_in(&stream)?)));
        let (presence, (name, guest)) = match let_in {
            Ok(let_in) => let_in,
            Err(why) => {
                eprintln!("offload: {why}");
                continue;
            }
        };
        endpoint.refresh();
        let coordinator = endpoint.coordinator();
        tokio::task::spawn_local(async move {
            let (reader, writer) = stream.into_split();
            let serving = serve(reader, writer, is_trusted, &coordinator);
            if let Err(error) = presence.during(serving).await {
                eprintln!("offload: {name}: {error}");
            }
            drop((guest, place));
        });
    }
}

/// How many clients each user has.
#[derive(Clone)]
struct Guests {
    by_user: Rc<RefCell<HashMap<u32, usize>>>,
    most: usize,
}

/// One client of a user. It has left when this is dropped.
struct Guest {
    guests: Guests,
    user: u32,
}

impl Guests {
    fn new(most: usize) -> Self {
        let by_user = Rc::default();
        Guests { by_user, most }
    }

    /// What messages call a client, and its place among those of its user.
    fn let_in(&self, stream: &UnixStream) -> Result<(String, Guest), String> {
        let peer = stream.peer_cred();
        let peer = peer.map_err(|error| format!("failed to ask who a client is: {error}"))?;
        let user = peer.uid();
        let name = match peer.pid() {
            Some(pid) => format!("process {pid} of user {user}"),
            None => format!("a process of user {user}"),
        };
        let guest = self.count(user);
        let guest = guest.map_err(|why| format!("{name} is turned away: {why}"))?;
        Ok((name, guest))
    }

    fn count(&self, user: u32) -> Result<Guest, String> {
        let mut by_user = self.by_user.borrow_mut();
        let count = by_user.entry(user).or_default();
        if *count >= self.most {
            return Err(format!("the user has {count} clients already"));
        }
        *count += 1;
        let guests = self.clone();
        Ok(Guest { guests, user })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut by_user = self.guests.by_user.borrow_mut();
        if let Some(count) = by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

/// As many clients as there are file descriptors for, at most `wanted`. Takes all that the process may have.
fn affordable(wanted: usize) -> usize {
    let needed = DESCRIPTORS * wanted as u64 + OWN_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return wanted;
    };
    let raised = needed.min(hard).max(soft);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    let clients = limit.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS;
    let clients = usize::try_from(clients).unwrap_or(usize::MAX).max(1);
    if clients < wanted {
        eprintln!(
            "offload: serves {clients} clients at a time: {limit} descriptors are all it may have"
        );
    }
    clients.min(wanted)
}

/// The socket that systemd hands over, or a new one at `path`. One that nobody listens on any more is
/// replaced.
pub(crate) fn listener(path: &Path) -> Result<UnixListener, String> {
    let failed = |error: std::io::Error| format!("failed to listen on {}: {error}", path.display());
    let given = listenfd::ListenFd::from_env().take_unix_listener(0);
    if let Some(listener) = given.map_err(failed)? {
        listener.set_nonblocking(true).map_err(failed)?;
        return UnixListener::from_std(listener).map_err(failed);
    }
    let is_socket = path
        .symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path).map_err(failed)?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        let made = make_folder(folder);
        made.map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    }
    UnixListener::bind(path).map_err(failed)
}

/// Makes a folder that everybody may look into, whatever the mode of the socket in it will be: several programs
/// have theirs in `/run/offload`.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_no_more_than_a_share() {
        let guests = Guests::new(2);
        let first = guests.count(7).ok();
        let second = guests.count(7).ok();
        assert!(first.is_some() && second.is_some());
        let why = guests.count(7).map(drop);
        assert_eq!(why, Err("the user has 2 clients already".to_owned()));
        assert!(guests.count(8).is_ok());
        drop(first);
        assert!(guests.count(7).is_ok());
        drop(second);
        assert!(guests.by_user.borrow().is_empty());
    }
}
