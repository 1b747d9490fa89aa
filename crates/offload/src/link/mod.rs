//! Authenticated ways to a machine. A link hands out plain byte streams; nothing above this room
//! knows that SSH carries them.

mod host_key;
mod prompt_ack;
mod ssh;
mod stream;

pub use host_key::{HostKeyError, HostKeys};
pub use ssh::{Credentials, LinkError, SshLink, SshTarget, Timeouts};
pub use stream::{ByteStream, Traffic};
