//! Bytes written by hand, in both directions, for everything that is said at every version where its layout
//! changes.
//!
//! The bytes stand in a [notation](notation) that this test puts into bytes by itself. Each operation's
//! request and reply must have a vector at each version that has the operation; the recorded conversations
//! (`tests/recorded`) hold the same codecs against real daemons.

mod builds;
mod handshake;
mod log;
mod maintenance;
mod notation;
mod paths;
mod serve;
mod table;
mod uploads;

use table::Table;

#[test]
fn every_operation_at_every_version() {
    let mut table = Table::new();
    paths::vectors(&mut table);
    builds::vectors(&mut table);
    maintenance::vectors(&mut table);
    uploads::vectors(&mut table);
    table.check_complete();
}
