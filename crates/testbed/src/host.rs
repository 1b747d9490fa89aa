//! One host: its start, what can be done on it, and its end.

mod start;

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    net::Ipv4Addr,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    CpuTime, Error, Output, Process, StoreKind,
    control_group::ControlGroup,
    error::While,
    output::{run, tail},
    process,
};

/// How long a command of [`Host::exec`] may run. Builds of the tests need seconds, on a loaded machine tens of them.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// How often a host that comes up, or grows quiet, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long all processes of a host may take to end that were killed.
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// How many lines of each log an error shows.
const LOG_LINES: usize = 20;

/// What a command on a host finds in its environment.
const ENVIRONMENT: [&str; 5] = [
    "HOME=/root",
    "USER=root",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "NIX_REMOTE=daemon",
];

/// A host: processes, files and services of its own on this machine. Dropping it ends all of them.
#[derive(Debug)]
pub struct Host {
    name: String,
    sshd: Option<Ipv4Addr>,
    folder: PathBuf,
    log: File,
    supervisor: Child,
    init: u32,
    init_handle: Option<OwnedFd>,
    namespace: PathBuf,
    control_group: Result<ControlGroup, String>,
    services: Vec<(String, u32)>,
    kind: StoreKind,
}

impl Host {
    /// Its name, which is also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that its sshd listens on, if it has one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.sshd
    }

    /// The name of its store daemon's program: `nix-daemon` or `guix-daemon`.
    pub fn store_daemon(&self) -> &'static str {
        self.kind.daemon()
    }

    /// Its root folder as the machine sees it, with the files that are its own but nothing that is mounted there.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Where the machine finds `path` of this host. Absolute symbolic links on the way lead elsewhere.
    pub fn outside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root().join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Runs a command as root, with [`COMMAND_LIMIT`] as its bound.
    ///
    /// # Errors
    /// If it could not be started or overran; that it failed is no error, see [`Output::status`].
    pub fn exec(&self, command: &[&str]) -> Result<Output, Error> {
        self.exec_within(COMMAND_LIMIT, command)
    }

    /// Runs a command as root, in root's home, and returns what it printed on its standard output.
    ///
    /// # Errors
    /// If it could not be started, overran or failed.
    pub fn run(&self, command: &[&str]) -> Result<String, Error> {
        let output = self.exec(command)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let host = self.name.clone();
        Err(Error::Failed {
            host,
            command: command.join(" "),
            output: Box::new(output),
            logs: self.logs(),
        })
    }

    /// Runs a command as root, in root's home; what runs for longer than `limit` is killed with all its process group.
    ///
    /// # Errors
    /// If it could not be started or overran.
    pub fn exec_within(&self, limit: Duration, command: &[&str]) -> Result<Output, Error> {
        let mut enter = match &self.control_group {
            Ok(group) => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", "echo $$ >\"$0\"/cgroup.procs; exec \"$@\""])
                    .arg(group.folder())
                    .arg("nsenter");
                shell
            }
            Err(_) => Command::new("nsenter"),
        };
        enter.arg(format!("--target={}", self.init));
        enter.args([
            "--mount", "--pid", "--uts", "--net", "--root", "--wd", "env", "-i", "-C", "/root",
        ]);
        enter.args(ENVIRONMENT).args(command);
        let (output, overran) =
            run(&mut enter, limit).while_trying(|| format!("enter {}", self.name))?;
        if overran {
            let printed = format!(
                "{}{}",
                tail(&output.stdout, LOG_LINES),
                tail(&output.stderr, LOG_LINES)
            );
            let (host, command) = (self.name.clone(), command.join(" "));
            return Err(Error::Overran {
                host,
                command,
                limit,
                printed,
            });
        }
        Ok(output)
    }

    /// Ends all that runs on the host from one moment to the next, as when its power fails; its files stay as they
    /// are. Whoever is connected sees the connection break. [`boot`](Host::boot) starts it again. One that is down
    /// already stays so.
    ///
    /// # Errors
    /// If the machine refuses, or a process does not end.
    pub fn crash(&mut self) -> Result<(), Error> {
        let action = || format!("crash {}", self.name);
        fs::write(self.folder.join("crashed"), "").while_trying(action)?;
        let init = self
            .init_handle
            .as_ref()
            .expect("a host that is up has a process 1");
        let deadline = Instant::now() + GONE_LIMIT;
        // The kernel lets process 1 go when no other one of its namespace is left.
        while rustix::process::pidfd_send_signal(init, Signal::KILL).is_ok() {
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).while_trying(action);
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Writes a file of the host, and the folders that it needs.
    ///
    /// # Errors
    /// If the file system says so.
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        contents: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let file = self.outside(&path);
        let write = || {
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(&file, contents)
        };
        write().while_trying(|| format!("write {} of {}", path.as_ref().display(), self.name))
    }

    /// Reads a text file of the host.
    ///
    /// # Errors
    /// If the file system says so, or the file is not UTF-8.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        fs::read_to_string(self.outside(&path))
            .while_trying(|| format!("read {} of {}", path.as_ref().display(), self.name))
    }

    /// All living processes of the host.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<Process>, Error> {
        process::of_namespace(&self.namespace)
            .while_trying(|| format!("list the processes of {}", self.name))
    }

    /// The processes that are neither process 1 nor a service itself: what a command or a connection started.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn strays(&self) -> Result<Vec<Process>, Error> {
        let own = |pid| pid == 1 || self.services.iter().any(|(_, service)| *service == pid);
        Ok(self
            .processes()?
            .into_iter()
            .filter(|process| !own(process.pid_inside))
            .collect())
    }

    /// Waits until there are no strays any more, at most `limit`, and returns those that are left.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn strays_after(&self, limit: Duration) -> Result<Vec<Process>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let strays = self.strays()?;
            if strays.is_empty() || Instant::now() > deadline {
                return Ok(strays);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The files right below `folder` that somebody holds a lock (flock) on. A folder that is not there has none.
    ///
    /// # Errors
    /// If the file system says so.
    pub fn held_locks(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
        let mut held = Vec::new();
        let mut look = || -> io::Result<()> {
            for entry in fs::read_dir(self.outside(&folder))? {
                let path = entry?.path();
                match File::open(&path)?.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => held.push(path),
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
            Ok(())
        };
        match look() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error)
                .while_trying(|| format!("look for locks in {}", folder.as_ref().display())),
            _ => Ok(held),
        }
    }

    /// The processor time of all processes that this host ever had, its services and [`Host::exec`] included.
    ///
    /// # Errors
    /// [`Error::NotMeasured`] where no control group could be made.
    pub fn cpu_time(&self) -> Result<CpuTime, Error> {
        let not_measured = |reason| Error::NotMeasured {
            host: self.name.clone(),
            reason,
        };
        let group = self
            .control_group
            .as_ref()
            .map_err(|reason| not_measured(reason.clone()))?;
        group
            .cpu_time()
            .map_err(|error| not_measured(error.to_string()))
    }

    /// The last lines of what process 1 and the services wrote.
    pub fn logs(&self) -> String {
        // Read at an offset of its own, because the writers share the file's. What cannot be read is not worth another
        // error: this is shown beside one.
        let mut own = vec![0; 4096];
        let read = self.log.read_at(&mut own, 0).unwrap_or(0);
        let mut text = titled(&self.name, "start", &String::from_utf8_lossy(&own[..read]));
        for service in [self.kind.daemon(), "sshd"] {
            let log = self.outside(format!("/var/log/{service}.log"));
            text += &titled(
                &self.name,
                service,
                &fs::read_to_string(log).unwrap_or_default(),
            );
        }
        text
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let killed = self
            .init_handle
            .as_ref()
            .map(|init| rustix::process::pidfd_send_signal(init, Signal::KILL));
        if killed.is_none_or(|result| result.is_err()) {
            // It never came up, or has ended: what there is of it ends with its pipe.
            drop(self.supervisor.stdin.take());
        }
        // The supervisor outlives every process of the host, and leaves no file.
        if let Err(error) = self.supervisor.wait() {
            drop(writeln!(
                io::stderr(),
                "failed to wait for the end of {}: {error}",
                self.name
            ));
        }
    }
}

fn titled(host: &str, title: &str, log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("--- {host}, {title}\n{}\n", tail(log, LOG_LINES).trim_end())
    }
}
