//! Links to a real sshd, with keys, certificates and agents made by OpenSSH's own tools.
//!
//! sshd is started for each connection, as inetd would, so that nothing has to be waited for; it
//! lets in whoever runs the tests, as themselves, and leaves nothing on the machine.

mod bed;
mod bounds;
mod host_keys;
mod identities;
mod round_trips;
mod routes;
