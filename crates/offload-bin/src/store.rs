//! The store endpoint: one client on standard input and output, or any number on a socket.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, value_parser};
use offload::local::{NixPrograms, StoreLocation};
use offload::machines::Machine;
use offload::store::{Bounds, Coordinator, builders_line, serve};
use tokio::task::LocalSet;

use crate::environment::endpoint_surroundings;
use crate::listen::listen;
use crate::lists;

/// Our own machine list, and that of a stock Nix for hosts that have none. What nix.conf says of
/// builders does not count here: it names this program.
const LISTS: [&str; 2] = ["/etc/offload/machines.toml", "/etc/nix/machines"];

/// Serves all machines as one store that builds.
#[derive(Args)]
pub(crate) struct Store {
    #[command(flatten)]
    what: What,
    /// The machine list: a file's path, or what could stand in nix.conf's `builders`. Without it
    /// /etc/offload/machines.toml, or where that is missing /etc/nix/machines.
    #[arg(long, value_name = "LIST")]
    machines: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
}

/// How much clients may ask for. How long they may take is said by OFFLOAD_BOUNDS.
#[derive(Args, Clone, Copy)]
struct Sizes {
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
    fn bound(self, bounds: Bounds) -> Bounds {
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
            sizes: Sizes::default(),
        }
    }

    pub(crate) fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("offload: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve(self) -> Result<(), String> {
        let coordinator = coordinator(self.machines.as_deref(), self.sizes)?;
        if self.what.print_builders {
            if coordinator.machines.is_empty() {
                return Err("there is no machine to build on".to_owned());
            }
            let program = std::env::current_exe().map_err(|error| error.to_string())?;
            let program = program.display().to_string();
            println!("{}", builders_line(&coordinator.machines, &program));
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("failed to start: {error}"))?;
        let served = match self.what.socket {
            None => runtime.block_on(async {
                let streams = (tokio::io::stdin(), tokio::io::stdout());
                let served = serve(streams.0, streams.1, true, &coordinator).await;
                served.map_err(|error| error.to_string())
            }),
            Some(path) => {
                let max_clients = usize::from(self.sizes.max_clients);
                LocalSet::new().block_on(&runtime, listen(&path, coordinator, max_clients))
            }
        };
        // A thread may still be reading standard input; the process does not wait for it.
        runtime.shutdown_background();
        served
    }
}

/// Whether an entry hands its builds to this very program, which would hand them to itself for ever.
fn is_this_program(machine: &Machine) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let program = machine.remote_program.first();
    let program = program.and_then(|program| real(Path::new(program)));
    machine.uri.host() == "localhost"
        && program.is_some_and(|program| std::env::current_exe().is_ok_and(|own| own == program))
}

fn coordinator(machines: Option<&str>, sizes: Sizes) -> Result<Coordinator, String> {
    let (surroundings, bounds) = endpoint_surroundings();
    let [own, stock] = LISTS;
    let default = if Path::new(own).exists() { own } else { stock };
    let mut list = lists::read(Some(machines.unwrap_or(default)));
    for problem in &list.problems {
        eprintln!("offload: {problem}");
    }
    list.machines.retain(|machine| {
        let is_other = !is_this_program(machine);
        if !is_other {
            let place = &machine.origin;
            eprintln!("offload: {place}: this entry is the endpoint itself, and is left out");
        }
        is_other
    });
    let directories = surroundings.directories;
    let location = StoreLocation::from_setting("", &directories);
    let socket = std::env::var_os("NIX_DAEMON_SOCKET_PATH").map(PathBuf::from);
    Ok(Coordinator {
        machines: list.machines,
        location: location.map_err(|error| error.to_string())?,
        programs: NixPrograms {
            folder: surroundings.programs,
            store: "auto".to_owned(),
        },
        daemon_socket: socket.unwrap_or_else(|| directories.state.join("daemon-socket/socket")),
        state_dir: directories.state,
        identity: surroundings.identity,
        timeouts: surroundings.timeouts,
        bounds: sizes.bound(bounds),
    })
}
