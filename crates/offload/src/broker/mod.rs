//! A process that keeps connections to machines open between builds, for the hooks of one user on
//! this host: a connection takes seven round trips, a stream over one that is there takes one, or
//! none where it was opened beforehand.
//!
//! A hook asks at a Unix socket ([`Link::connect`](crate::link::Link::connect)) and gets byte
//! streams. All else stays with the hook: slots, choice, what is known of machines, the
//! conversations. Without a broker it connects itself; a broker that dies costs a build that second
//! try, never its result.

mod keep;
mod pump;
mod serve;

pub use keep::Keeping;
pub use serve::serve;
