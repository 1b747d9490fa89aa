//! The store endpoint: one client on standard input and output, or any number on a socket.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use clap::Args;
use offload::local::{NixPrograms, StoreLocation};
use offload::store::{Coordinator, builders_line, serve};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::environment::surroundings;
use crate::lists;

/// Our own machine list, and that of a stock Nix for hosts that have none. What nix.conf says of
/// builders does not count here: it names this program.
const LISTS: [&str; 2] = ["/etc/offload/machines.toml", "/etc/nix/machines"];
/// How many clients a socket serves at a time. More wait.
const MAX_CLIENTS: usize = 1024;

/// Serves all machines as one store that builds.
#[derive(Args)]
pub(crate) struct Store {
    #[command(flatten)]
    what: What,
    /// The machine list: a file's path, or what could stand in nix.conf's `builders`. Without it
    /// /etc/offload/machines.toml, or where that is missing /etc/nix/machines.
    #[arg(long, value_name = "LIST")]
    machines: Option<String>,
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
        let coordinator = coordinator(self.machines.as_deref())?;
        if self.what.print_builders {
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
                let served = serve(streams.0, streams.1, &coordinator).await;
                served.map_err(|error| error.to_string())
            }),
            Some(path) => LocalSet::new().block_on(&runtime, listen(&path, coordinator)),
        };
        // A thread may still be reading standard input; the process does not wait for it.
        runtime.shutdown_background();
        served
    }
}

fn coordinator(machines: Option<&str>) -> Result<Coordinator, String> {
    let surroundings = surroundings();
    let [own, stock] = LISTS;
    let default = if Path::new(own).exists() { own } else { stock };
    let list = lists::read(Some(machines.unwrap_or(default)));
    for problem in &list.problems {
        eprintln!("offload: {problem}");
    }
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
    })
}

async fn listen(path: &Path, coordinator: Coordinator) -> Result<(), String> {
    let listener = listener(path)?;
    let coordinator = Rc::new(coordinator);
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.map_err(|error| error.to_string())?;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, as a rule: others may give some back.
                eprintln!("offload: failed to accept a client: {error}");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
        };
        let coordinator = coordinator.clone();
        tokio::task::spawn_local(async move {
            let (reader, writer) = stream.into_split();
            if let Err(error) = serve(reader, writer, &coordinator).await {
                eprintln!("offload: client: {error}");
            }
            drop(place);
        });
    }
}

/// The socket that systemd hands over, or a new one at `path`. One that nobody listens on any more is
/// replaced.
fn listener(path: &Path) -> Result<UnixListener, String> {
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
    UnixListener::bind(path).map_err(failed)
}
