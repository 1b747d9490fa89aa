//! The broker, as a process.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use nix::sys::stat::{Mode, umask};
use offload::broker::{Keeping, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::environment::BROKER_SOCKET;
use crate::listen::listener;

/// Keeps connections to machines open between builds.
#[derive(Args)]
pub(crate) struct Broker {
    /// Listen on this Unix socket, or on the one that systemd hands over.
    #[arg(long, value_name = "PATH", default_value = BROKER_SOCKET)]
    socket: PathBuf,
    /// How long a connection is kept that nobody uses, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u32).range(1..))]
    keep: u32,
    /// How long a conversation with a machine's daemon stands ready for the next build, in seconds. The daemon runs a
    /// process for it; and of a connection that has died in silence it does not tell, as a new one would.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    keep_ready: u32,
}

impl Broker {
    pub(crate) fn run(self) -> Result<(), String> {
        // The socket lets its user log in to every machine as this one.
        umask(Mode::from_bits_truncate(0o077));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("failed to start: {error}"))?;
        let keeping = Keeping {
            link: Duration::from_secs(self.keep.into()),
            spare: Duration::from_secs(self.keep_ready.into()),
        };
        LocalSet::new().block_on(&runtime, async {
            let listener = listener(&self.socket)?;
            let stop = stop().map_err(|error| format!("failed to listen for signals: {error}"))?;
            serve(listener, keeping, |line| eprintln!("offload: {line}"), stop).await;
            Ok(())
        })
    }
}

/// Waits to be told to end.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
