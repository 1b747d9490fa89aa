//! The store endpoint: one client on standard input and output, or any number on a socket.

use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::{Args, value_parser};
use offload::store::{Bounds, Presence, builders_line, serve};
use tokio::task::LocalSet;

use crate::endpoint::Endpoint;
use crate::listen::listen;

/// Serves all machines as one store that builds.
#[derive(Args)]
pub(crate) struct Store {
    #[command(flatten)]
    what: What,
    /// The machine list: a file's path (with a `/` or `.` in front, or .toml at its end), or what could stand
    /// in nix.conf's `builders`. Without it /etc/offload/machines.toml, or where that is missing
    /// /etc/nix/machines.
    #[arg(long, value_name = "LIST", visible_alias = "list")]
    machines: Option<String>,
    /// How many builds the printed line has wait here, beside those that all slots take. A stock Nix that
    /// finds a builder full asks again after 5 s only; what waits here gets a slot as soon as one is
    /// free. Each costs a process or two. With 0 nothing waits here.
    #[arg(long, value_name = "N", default_value_t = QUEUE, requires = "print_builders")]
    queue: u32,
    #[command(flatten)]
    sizes: Sizes,
}

/// As many builds as a person has under way at a time, as a rule.
const QUEUE: u32 = 64;

/// How much clients may ask for. How long they may take is said by OFFLOAD_BOUNDS.
#[derive(Args, Clone, Copy)]
pub(crate) struct Sizes {
    /// How many clients a socket serves at a time; one user may have half of them. More wait.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = value_parser!(u16).range(1..))]
    max_clients: u16,
    /// The most that is held of one request, in MiB: a derivation, a list of paths.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = value_parser!(u32).range(1..=512))]
    max_request: u32,
    /// The most data that one request may bring, in MiB: an archive.
    #[arg(long, value_name = "MIB", default_value_t = 1 << 20, value_parser = value_parser!(u32).range(1..))]
    max_upload: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            max_clients: 1024,
            max_request: 64,
            max_upload: 1 << 20,
        }
    }
}

impl Sizes {
    pub(crate) fn bound(self, bounds: Bounds) -> Bounds {
        Bounds {
            request_size: (self.max_request as usize) << 20,
            upload_size: u64::from(self.max_upload) << 20,
            ..bounds
        }
    }
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Serve one client on standard input and output, as `remote-program` of a `builders` line does.
    #[arg(long)]
    stdio: bool,
    /// Serve clients on a Unix socket, or on the one that systemd hands over. Its mode says who may
    /// build.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print the `builders` line that hands a stock Nix's builds to this program.
    #[arg(long)]
    print_builders: bool,
}

impl Store {
    /// As a bare `--stdio` asks for.
    pub(crate) fn stdio() -> Self {
        let what = What {
            stdio: true,
            socket: None,
            print_builders: false,
        };
        Store {
            what,
            machines: None,
            queue: QUEUE,
            sizes: Sizes::default(),
        }
    }

    pub(crate) fn run(self) -> Result<(), String> {
        let endpoint = Endpoint::open(self.machines, self.sizes)?;
        let coordinator = endpoint.coordinator();
        if self.what.print_builders {
            if coordinator.machines.is_empty() {
                return Err(endpoint.no_machine());
            }
            let program = std::env::current_exe().map_err(|error| error.to_string())?;
            let program = program.display().to_string();
            println!(
                "{}",
                builders_line(&coordinator.machines, &program, self.queue)
            );
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("failed to start: {error}"))?;
        let served = match self.what.socket {
            None => runtime.block_on(async {
                let output = std::io::stdout().as_fd().try_clone_to_owned();
                let presence = output.and_then(Presence::of_pipe);
                let presence =
                    presence.map_err(|error| format!("failed to watch the client: {error}"))?;
                let (reader, writer) = (tokio::io::stdin(), tokio::io::stdout());
                let served = presence.during(serve(reader, writer, true, &coordinator));
                served.await.map_err(|error| error.to_string())
            }),
            Some(path) => {
                let max_clients = usize::from(self.sizes.max_clients);
                LocalSet::new().block_on(&runtime, listen(&path, endpoint, max_clients))
            }
        };
        // A thread may still be reading standard input; the process does not wait for it.
        runtime.shutdown_background();
        served
    }
}
