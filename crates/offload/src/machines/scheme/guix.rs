//! Evaluating a machine file by the real `guix repl`.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::cache::{Cache, Identity};
use super::{MAX_FILE, Reading, SchemeProblem, Surroundings, read_scheme};
use crate::machines::MachineList;

/// Prints the machines in a form that [`read_scheme`] reads.
const SCRIPT: &str = include_str!("evaluate.scm");

/// How much of what guix says about an error is kept.
const MAX_COMPLAINT: u64 = 1024;

/// The real `guix repl`, and where its answers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixRepl {
    /// The program `guix`.
    pub program: PathBuf,
    /// The home directory that machine files see in `HOME`; if there is none, they see this process's own. Stock takes
    /// it from the user database, since guix-daemon may have none.
    pub home: Option<PathBuf>,
    /// Where answers are kept. Whoever may write there may choose the machines.
    pub cache: Option<PathBuf>,
    /// How long an answer is used while the file stays the same. Not for ever, since a program may look at more than its
    /// own file: Guix System's virtual build machines are in the list while they run.
    pub max_age: Duration,
    /// How long an evaluation may take.
    pub limit: Duration,
}

/// The machines that a file evaluates to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The machines.
    pub list: MachineList,
    /// Whether the answer was kept from before.
    pub remembered: bool,
}

impl GuixRepl {
    /// `program`, which may take a minute (an evaluation takes a quarter of a second where nothing else runs), and whose
    /// answers are kept nowhere.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        GuixRepl {
            program: program.into(),
            home: None,
            cache: None,
            max_age: Duration::from_secs(600),
            limit: Duration::from_secs(60),
        }
    }

    /// Evaluates the machine file at `path`, or finds that it did so before.
    ///
    /// # Errors
    /// [`SchemeProblem::Guix`] with what guix says, or [`SchemeProblem::Read`].
    pub async fn evaluate(&self, path: &Path) -> Result<Evaluated, SchemeProblem> {
        let unreadable = |error: io::Error| SchemeProblem::Read(error.to_string());
        let metadata = path.metadata().map_err(unreadable)?;
        let identity = Identity::new(path, self.home.as_deref(), &metadata);
        let cache = self.cache.as_deref().map(|directory| Cache {
            directory,
            max_age: self.max_age,
        });
        if let Some(text) = cache.as_ref().and_then(|cache| cache.get(&identity))
            && let Ok(list) = self.read(path, &text)
        {
            return Ok(Evaluated {
                list,
                remembered: true,
            });
        }
        let text = self.run(path).await?;
        let list = self.read(path, &text)?;
        if let Some(cache) = cache {
            cache.put(identity, &text);
        }
        Ok(Evaluated {
            list,
            remembered: false,
        })
    }

    /// What guix prints for the file at `path`: a form in which there is nothing left to evaluate.
    ///
    /// # Errors
    /// [`SchemeProblem::Guix`].
    pub async fn run(&self, path: &Path) -> Result<String, SchemeProblem> {
        let mut command = Command::new(&self.program);
        command.args(["repl", "--", "/dev/stdin"]).arg(path);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| self.failed(error.to_string()))?;
        let group = child.id();
        let mut conversation = pin!(converse(child));
        let ended = tokio::time::timeout(self.limit, &mut conversation).await;
        let (status, text, complaint) = match ended {
            Ok(said) => said.map_err(|error| self.failed(error.to_string()))?,
            Err(_) => {
                // Before the process is waited for, its number is nobody else's.
                kill_group(group);
                let seconds = self.limit.as_secs_f32();
                return Err(self.failed(format!("no end after {seconds} s (bound program)")));
            }
        };
        if !status.success() {
            let reason = match complaint.trim() {
                "" => status.to_string(),
                complaint => format!("{status}: {complaint}"),
            };
            return Err(self.failed(reason));
        }
        match text.len() <= MAX_FILE {
            true => Ok(text),
            false => Err(self.failed(SchemeProblem::TooLarge.to_string())),
        }
    }

    fn read(&self, path: &Path, text: &str) -> Result<MachineList, SchemeProblem> {
        // A program's positions are in what guix printed, unless it says where the machine stood (1.5.0 does).
        let name = format!("{}, evaluated", path.display());
        let none = Surroundings {
            variable: &|_| None,
            read: &|_| Err(io::ErrorKind::NotFound.into()),
        };
        match read_scheme(text, &name, none) {
            Reading::Machines(list) => Ok(list),
            Reading::NotStatic(form) => Err(self.failed(form.to_string())),
        }
    }

    fn failed(&self, reason: String) -> SchemeProblem {
        SchemeProblem::Guix {
            program: self.program.clone(),
            reason,
        }
    }
}

/// Gives the script, and takes what is printed: one byte more than may be, at most.
async fn converse(mut child: Child) -> io::Result<(ExitStatus, String, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let script = async {
        if let Some(mut stdin) = stdin {
            // It may end before it has read all: its status says so.
            let _ = stdin.write_all(SCRIPT.as_bytes()).await;
        }
    };
    let ((), text, complaint) = tokio::join!(
        script,
        first_bytes(stdout, MAX_FILE as u64 + 1),
        first_bytes(stderr, MAX_COMPLAINT)
    );
    let status = child.wait().await?;
    Ok((status, text?, complaint?))
}

/// The first bytes of a stream, which is read to its end.
async fn first_bytes(stream: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(most).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends the process and those that it has started.
fn kill_group(leader: Option<u32>) {
    let leader = leader.and_then(|pid| i32::try_from(pid).ok());
    if let Some(group) = leader.and_then(rustix::process::Pid::from_raw) {
        // They may be gone already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
