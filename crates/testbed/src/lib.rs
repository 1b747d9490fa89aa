//! Real store daemons and a real sshd on one machine, each host in namespaces of its own, for tests and benchmarks.
//!
//! A [`Pair`] is one coordinator and one or more builders. Each [`Host`] has its own mount, pid and uts namespace and a
//! root assembled from bind mounts: `/usr` is a [`Distribution`]'s, read-only; `/etc`, `/gnu`, `/nix`, `/root`, `/run`,
//! `/tmp` and `/var` are its own and start out empty but for what the host needs. The hosts of a pair share one network
//! namespace that only they see: the first builder's sshd listens on 127.0.0.1:22 there, the next one's on 127.0.0.2:22,
//! and any number of pairs run beside each other. No systemd, no container engine, no network, no package collection.
//!
//! It needs root and a few programs of the distribution: [`requirements`] says what is missing, [`require!`] leaves a
//! test out loudly. All ends when the pair is dropped, and also when its process is killed: process 1 of each host
//! lives as long as a pipe to the process that made it, and the kernel ends the rest with it.
//!
//! ```no_run
//! use testbed::{Pair, PairOptions};
//!
//! let pair = Pair::start(PairOptions::default())?;
//! pair.coordinator.write_file("/etc/nix/machines", format!("{}\n", pair.machine_line()))?;
//! let built = pair.coordinator.exec(&["nix-build", "/root/trivial.nix", "--max-jobs", "0"])?;
//! assert!(built.status.success(), "{}", built.stderr);
//! # Ok::<(), testbed::Error>(())
//! ```

mod control_group;
mod copy_of_root;
mod distribution;
mod error;
mod fault;
mod guix;
mod host;
mod keys;
mod kills;
mod link;
mod machine_line;
mod network;
mod options;
mod output;
mod pair;
mod pool;
mod process;
mod requirements;
mod root;
mod stage;

pub use control_group::CpuTime;
pub use copy_of_root::{CopyOfRoot, ROOTS_VARIABLE, roots_with};
pub use distribution::Distribution;
pub use error::Error;
pub use fault::Fault;
pub use guix::GuixMachine;
pub use host::{COMMAND_LIMIT, Host};
pub use kills::{KILLS_VARIABLE, Kills, Moment, SEED_VARIABLE};
pub use link::{Direction, Link};
pub use machine_line::MachineLine;
pub use options::{HostOptions, Mount, PairOptions, StoreDaemon, StoreKind};
pub use output::Output;
pub use pair::Pair;
pub use pool::{Pool, Taken};
pub use process::Process;
// For `Process::signal`.
pub use requirements::{
    LEFT_OUT_VARIABLE, Missing, REQUIRE_VARIABLE, is_known_here, requirements, runs_here,
};
pub use rustix::process::Signal;
pub use stage::Stage;
