//! A home directory for one test, and the sshd that it connects to.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use offload::link::{Destination, Identity, LinkError, SshLink, SshSettings, Timeouts};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

/// Where distributions have it; it is on no ordinary user's path.
const SSHD: &str = "/usr/sbin/sshd";

/// What these tests need of the machine.
pub(crate) fn requirements() -> Result<(), &'static str> {
    let there = |program: &str| Command::new(program).arg("-?").output().is_ok();
    match () {
        () if !Path::new(SSHD).exists() => Err("no sshd (package openssh-server)"),
        () if !there("ssh-keygen") => Err("no ssh-keygen (package openssh-client)"),
        () if !there("ssh-agent") => Err("no ssh-agent (package openssh-client)"),
        () if !there("unshare") => Err("no unshare (package util-linux)"),
        () => Ok(()),
    }
}

/// A home directory, a system-wide folder, and an sshd that knows the user.
pub(crate) struct Bed {
    pub(crate) folder: TempDir,
    pub(crate) sshd: Sshd,
    /// The environment that OpenSSH's files refer to.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) timeouts: Timeouts,
}

impl Bed {
    /// With a user's key `id_ed25519` that sshd lets in, and the host's key in `known_hosts`.
    pub(crate) fn new() -> Self {
        let bed = Self::without_keys();
        bed.key("home/.ssh/id_ed25519", &["-t", "ed25519"]);
        bed.let_in("home/.ssh/id_ed25519.pub");
        bed.know_host();
        bed
    }

    /// With a host key only.
    pub(crate) fn without_keys() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home/.ssh", "ssh"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let sshd = Sshd::start(folder.path());
        let bed = Bed {
            folder,
            sshd,
            environment: Vec::new(),
            timeouts: Timeouts::default(),
        };
        bed.key("host_key", &["-t", "ed25519"]);
        bed.write("authorized_keys", "");
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        let before = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        self.write(name, &format!("{before}{text}"));
    }

    /// Makes a key without passphrase.
    pub(crate) fn key(&self, name: &str, options: &[&str]) {
        let _ = std::fs::remove_file(self.path(name));
        let mut all = options.to_vec();
        let file = self.path(name);
        all.extend(["-q", "-N", "", "-C", "made for a test", "-f"]);
        all.push(file.to_str().unwrap());
        self.keygen(&all);
    }

    /// Runs `ssh-keygen`.
    pub(crate) fn keygen(&self, options: &[&str]) {
        self.run(Command::new("ssh-keygen").args(options));
    }

    pub(crate) fn run(&self, command: &mut Command) {
        let output = command
            .current_dir(self.folder.path())
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }

    /// Lets in whoever has the private half of this public key.
    pub(crate) fn let_in(&self, public: &str) {
        self.append("authorized_keys", &self.read(public));
    }

    /// From now on the user's `known_hosts` has the host's key, for its port.
    pub(crate) fn know_host(&self) {
        let port = self.sshd.port;
        let key = self.read("host_key.pub");
        self.append(
            "home/.ssh/known_hosts",
            &format!("[127.0.0.1]:{port} {key}"),
        );
    }

    /// Makes this the user's configuration; `PORT`, `DIR` and `USER` are the test's own.
    pub(crate) fn configure(&self, text: &str) {
        self.write("home/.ssh/config", &self.filled(text));
    }

    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("PORT", &self.sshd.port.to_string())
            .replace("DIR", self.folder.path().to_str().unwrap())
            .replace("USER", &user())
    }

    /// `Host host` leads to sshd, and to this.
    pub(crate) fn configure_host(&self, more: &str) {
        let host = "Host host\n HostName 127.0.0.1\n Port PORT\n";
        self.configure(&format!("{host}{more}\n"));
    }

    /// Connects as a hook would, and says what was left out of the configuration.
    pub(crate) async fn connect(
        &self,
        destination: Destination,
    ) -> (Result<SshLink, LinkError>, Vec<String>) {
        let mut identity = Identity::new(user(), uid(), self.path("home"));
        identity.system = self.path("ssh");
        identity.environment = self.environment.iter().cloned().collect();
        let settings = SshSettings::read(&identity);
        match settings.plan(&destination, self.timeouts) {
            Ok(plan) => {
                let warnings = plan.warnings.iter().map(ToString::to_string);
                let warnings = warnings.collect();
                (SshLink::connect(&plan.target).await, warnings)
            }
            Err(error) => (Err(error.into()), Vec::new()),
        }
    }

    /// What `echo` prints over a link to `host`, or why there is none.
    pub(crate) fn reach(&self, host: &str) -> String {
        self.reach_at(Destination {
            host: host.to_owned(),
            ..Destination::default()
        })
    }

    pub(crate) fn reach_at(&self, destination: Destination) -> String {
        block_on(async {
            let (link, warnings) = self.connect(destination).await;
            let mut said = match link {
                Ok(link) => echo(&link).await,
                Err(error) => error.to_string(),
            };
            for warning in warnings {
                said += &format!("\n{warning}");
            }
            said.replace(self.folder.path().to_str().unwrap(), "DIR")
                .replace(&self.sshd.port.to_string(), "PORT")
                .replace(&format!("user {} ", user()), "user USER ")
        })
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// What a command prints at the other end.
pub(crate) async fn echo(link: &SshLink) -> String {
    let mut stream = link.exec("echo fine").await.unwrap();
    let mut text = String::new();
    stream.reader.read_to_string(&mut text).await.unwrap();
    text.trim_end().to_owned()
}

pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn uid() -> u32 {
    let output = Command::new("id").arg("-u").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// What a proxy before sshd has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often the direction changed, from the client's first byte on, both ways together.
    pub(crate) turns: usize,
    /// Bytes, both ways together.
    pub(crate) bytes: usize,
    from_client: bool,
}

/// An sshd on a port of its own, until it is dropped. Each connection passes a proxy that counts.
pub(crate) struct Sshd {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl Sshd {
    /// Its files are in `folder`: `host_key`, `authorized_keys`, `sshd_config` for what is more.
    pub(crate) fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let (counted, files) = (seen.clone(), folder.to_owned());
        // Ends with the process; by then each sshd has seen the end of its connection.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (counted, files) = (counted.clone(), files.clone());
                thread::spawn(move || serve(stream, &files, &counted).unwrap());
            }
        });
        Sshd { port, seen }
    }
}

fn serve(near: TcpStream, folder: &Path, seen: &Arc<Mutex<Seen>>) -> io::Result<()> {
    near.set_nodelay(true)?;
    // sshd wants a socket, so that it knows who connects.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = TcpStream::connect(listener.local_addr()?)?;
    far.set_nodelay(true)?;
    let (inside, _) = listener.accept()?;
    let mut sshd = spawn(inside, folder)?;
    let there = {
        let (near, far, seen) = (near.try_clone()?, far.try_clone()?, seen.clone());
        thread::spawn(move || carry(near, far, true, &seen))
    };
    carry(far, near, false, seen);
    there.join().expect("a carrying thread ends");
    sshd.wait()?;
    Ok(())
}

fn spawn(inside: TcpStream, folder: &Path) -> io::Result<Child> {
    let own = std::fs::read_to_string(folder.join("sshd_config")).unwrap_or_default();
    let config = format!(
        "{own}HostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nLogLevel VERBOSE\n\
         KbdInteractiveAuthentication no\n",
        folder.display()
    );
    // A file of its own, because connections may overlap.
    let file = tempfile::Builder::new()
        .suffix("-sshd_config")
        .tempfile_in(folder)?;
    std::fs::write(file.path(), config)?;
    let (_, file) = file.keep()?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("sshd.log"))?;
    // root's sshd wants an empty folder of the system's, which exists where sshd is a service.
    let script = "if [ $(id -u) = 0 ]; then mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd; fi; \
                  exec \"$0\" -i -e -f \"$1\"";
    let mut command = match uid() {
        0 => {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "sh"]);
            command
        }
        _ => Command::new("sh"),
    };
    let input = OwnedFd::from(inside);
    command
        .args(["-c", script, SSHD])
        .arg(file)
        .stdin(Stdio::from(input.try_clone()?))
        .stdout(Stdio::from(input))
        .stderr(Stdio::from(log))
        .spawn()
}

fn carry(mut from: TcpStream, mut to: TcpStream, from_client: bool, seen: &Mutex<Seen>) {
    let mut chunk = [0; 65536];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        {
            let mut seen = seen.lock().unwrap();
            seen.bytes += count;
            if seen.from_client != from_client {
                seen.from_client = from_client;
                seen.turns += 1;
            }
        }
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// An `ssh-agent`, until it is dropped.
pub(crate) struct Agent {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Agent {
    pub(crate) fn start(bed: &Bed) -> Self {
        let socket = bed.path("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { child, socket };
        for _ in 0..1000 {
            if UnixStream::connect(&agent.socket).is_ok() {
                return agent;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("ssh-agent does not come up");
    }

    /// Gives it a private key, and the certificate beside it if there is one.
    pub(crate) fn add(&self, bed: &Bed, key: &str) {
        bed.run(
            Command::new("ssh-add")
                .arg(bed.path(key))
                .env("SSH_AUTH_SOCK", &self.socket)
                .stdin(Stdio::null()),
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
