//! The machine lists of this host: what `builders` says in its nix.conf, and the endpoint's.
//!
//! A hook is told `builders` by its daemon. Whoever asks about machines looks it up where the daemon has
//! it from, so that both see the same machines. An entry that is the store endpoint stands for the
//! machines behind it.

use std::path::{Path, PathBuf};

use super::list::{Place, Reader};
use super::{Found, Machine, MachineList, Origin, Problem, ProblemKind, Scheme, read_list};

/// What Nix takes where nix.conf has no `builders`; `/etc/nix` is the configuration's directory.
const DEFAULT_BUILDERS: &str = "machines";
/// Configuration files that include each other are followed to this depth.
const MAX_DEPTH: usize = 8;
/// Longest nix.conf that is read, in bytes.
const MAX_CONF: u64 = 1 << 20;

/// Where the machine lists of a host are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLists {
    /// The directory of nix.conf: `/etc/nix`, or `NIX_CONF_DIR`.
    pub nix: PathBuf,
    /// More settings, which count more than nix.conf: `NIX_CONFIG`.
    pub nix_config: String,
    /// The endpoint's own list: `/etc/offload/machines.toml`. A hook reads it where `builders` names it.
    pub own: PathBuf,
    /// The file of the program that is the endpoint, to tell an entry that starts it. Empty: none does.
    pub program: PathBuf,
}

impl Default for HostLists {
    fn default() -> Self {
        HostLists {
            nix: PathBuf::from("/etc/nix"),
            nix_config: String::new(),
            own: PathBuf::from("/etc/offload/machines.toml"),
            program: PathBuf::new(),
        }
    }
}

/// What of nix.conf matters here.
#[derive(Debug, Default)]
struct Conf {
    builders: Option<(String, Origin)>,
    system: Option<String>,
}

impl HostLists {
    /// Reads what this host's builds go by: what a hook is given (`builders`, by default
    /// `@/etc/nix/machines`). Where an entry of it is the endpoint, the endpoint's list takes its place.
    /// `system` stands where neither nix.conf nor an entry has one.
    #[must_use]
    pub fn read(&self, system: &str) -> MachineList {
        let conf = self.conf();
        let system = conf.system.as_deref().unwrap_or(system);
        let mut reader = Reader::new(system);
        match &conf.builders {
            Some((builders, origin)) => {
                reader.read_text(builders, &Place::Line(origin.clone()), 0);
            }
            None => reader.read_named(&self.nix.join(DEFAULT_BUILDERS)),
        }
        let mut list = reader.list;
        let is_endpoint = |machine: &Machine| self.is_endpoint(machine);
        if let Some(index) = list.machines.iter().position(is_endpoint) {
            list.machines.retain(|machine| !self.is_endpoint(machine));
            let behind = self.read_default(system);
            let is_read = |path: &Path| list.files.iter().any(|file| file.path == path);
            // A file that has both the endpoint's entry and the machines behind it counts once.
            if !behind
                .files
                .iter()
                .any(|file| file.found == Found::Read && is_read(&file.path))
            {
                list.machines.splice(index..index, behind.machines);
                list.problems.extend(behind.problems);
                list.files.extend(behind.files);
            }
        }
        list
    }

    /// Reads what the endpoint has builds done by: `list` as a person names it, or else its own list,
    /// or where there is no such file `/etc/nix/machines`. What nix.conf says of builders does not count:
    /// it names the endpoint. An entry that is the endpoint is left out.
    #[must_use]
    pub fn read_endpoint(&self, list: Option<&str>, system: &str) -> MachineList {
        match list {
            Some(list) => self.without_endpoint(read_list(list, system)),
            None => self.read_default(self.conf().system.as_deref().unwrap_or(system)),
        }
    }

    /// Whether the endpoint has a list of its own that has no part in `list`, which builds go by.
    #[must_use]
    pub fn own_is_unused(&self, list: &MachineList) -> bool {
        self.own.exists() && list.files.iter().all(|file| file.path != self.own)
    }

    fn read_default(&self, system: &str) -> MachineList {
        let mut reader = Reader::new(system);
        reader.read_named(&self.own);
        if reader
            .list
            .files
            .iter()
            .all(|file| file.found == Found::Missing)
        {
            reader.read_named(&self.nix.join(DEFAULT_BUILDERS));
        }
        self.without_endpoint(reader.list)
    }

    fn without_endpoint(&self, mut list: MachineList) -> MachineList {
        let endpoints = list
            .machines
            .extract_if(.., |machine| self.is_endpoint(machine));
        let problem = |machine: Machine| Problem {
            origin: machine.origin,
            kind: ProblemKind::Endpoint,
        };
        list.problems.extend(endpoints.map(problem));
        list
    }

    /// Whether an entry hands its builds to the endpoint.
    fn is_endpoint(&self, machine: &Machine) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        let program = machine.remote_program.first();
        let program = program.and_then(|program| real(Path::new(program)));
        machine.uri.scheme() == Scheme::SshNg
            && machine.uri.host() == "localhost"
            && program.is_some()
            && program == real(&self.program)
    }

    fn conf(&self) -> Conf {
        let mut conf = Conf::default();
        conf.read_file(&self.nix.join("nix.conf"), 0);
        let place = Place::Counted("NIX_CONFIG".to_owned());
        conf.read_text(&self.nix_config, &place, &self.nix, 0);
        conf
    }
}

impl Conf {
    /// A file that cannot be read says nothing: Nix itself tells about that.
    fn read_file(&mut self, path: &Path, depth: usize) {
        let is_fit = path.metadata().is_ok_and(|found| found.len() <= MAX_CONF);
        if depth == MAX_DEPTH || !is_fit {
            return;
        }
        if let Ok(text) = std::fs::read_to_string(path) {
            let place = Place::Counted(path.display().to_string());
            let folder = path.parent().unwrap_or(path);
            self.read_text(&text, &place, folder, depth);
        }
    }

    /// `name = value`, `include FILE`, `!include FILE`, comments from `#` on. What comes last counts.
    fn read_text(&mut self, text: &str, place: &Place, folder: &Path, depth: usize) {
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let include = line.strip_prefix('!').unwrap_or(line);
            if let Some(file) = include.strip_prefix("include ") {
                self.read_file(&folder.join(file.trim()), depth + 1);
            } else if let Some((name, value)) = line.split_once('=') {
                // Nix joins a value's words by single blanks.
                let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
                match name.trim() {
                    "builders" => self.builders = Some((value, place.line(index + 1))),
                    "system" => self.system = Some(value),
                    _ => {}
                }
            }
        }
    }
}

/// The system that Nix calls a host of this architecture and operating system by, in Rust's words:
/// `x86_64-linux`, `aarch64-darwin`.
#[must_use]
pub fn host_system(architecture: &str, operating_system: &str) -> String {
    let architecture = match architecture {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "powerpc64le",
        other => other,
    };
    let operating_system = match operating_system {
        "macos" => "darwin",
        other => other,
    };
    format!("{architecture}-{operating_system}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(folder: &Path) -> HostLists {
        HostLists {
            nix: folder.to_owned(),
            nix_config: String::new(),
            own: folder.join("own.toml"),
            program: folder.join("offload"),
        }
    }

    fn summary(list: &MachineList, folder: &Path) -> String {
        let machines = list.machines.iter();
        let machines = machines.map(|m| format!("{} {:?} {}", m.uri, m.systems, m.origin));
        let problems = list.problems.iter().map(ToString::to_string);
        let files = list.files.iter();
        let files = files.map(|file| format!("{}: {}", file.path.display(), file.found));
        let lines: Vec<_> = machines.chain(problems).chain(files).collect();
        let folder = folder.display().to_string();
        lines.join("\n").replace(&folder, "DIR")
    }

    #[test]
    fn what_nix_conf_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        let lists = lists(path);
        let mut seen = vec![summary(&lists.read("x-linux"), path)];
        write("machines", "ssh://a\n");
        write("own.toml", "machines.b.uri = 'ssh://b'\n");
        seen.push(summary(&lists.read("x-linux"), path));
        write(
            "nix.conf",
            "cores = 1\n!include none\ninclude more.conf # x\n",
        );
        write(
            "more.conf",
            "\nbuilders =  ssh://c  - - ;  @own.toml\nsystem = y-linux\n",
        );
        seen.push(summary(&lists.read("x-linux"), path));
        write(
            "more.conf",
            &format!("builders = @{}", path.join("own.toml").display()),
        );
        seen.push(summary(&lists.read("x-linux"), path));
        let overruled = HostLists {
            nix_config: "builders =\n".to_owned(),
            ..lists
        };
        seen.push(summary(&overruled.read("x-linux"), path));
        insta::assert_snapshot!(seen.join("\n--\n"));
    }

    #[test]
    fn the_endpoint_stands_for_the_machines_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        let lists = lists(path);
        let program = path.join("offload");
        write("offload", "");
        let line = format!("ssh-ng://localhost?remote-program={}", program.display());
        write(
            "nix.conf",
            &format!("builders = ssh://a; {line} x - 9; ssh://c"),
        );
        write("machines", "ssh://b\n");
        let mut seen = vec![summary(&lists.read("x"), path)];
        write("own.toml", "machines.d.uri = 'ssh://d'\n");
        seen.push(summary(&lists.read("x"), path));
        seen.push(summary(&lists.read_endpoint(None, "x"), path));
        std::fs::remove_file(path.join("own.toml")).unwrap();
        std::fs::remove_file(path.join("nix.conf")).unwrap();
        write("machines", &format!("ssh://b\n{line}\n"));
        seen.push(summary(&lists.read("x"), path));
        seen.push(summary(&lists.read_endpoint(None, "x"), path));
        seen.push(summary(&lists.read_endpoint(Some(&line), "x"), path));
        insta::assert_snapshot!(seen.join("\n--\n"));
    }

    #[test]
    fn a_list_that_nothing_names_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let lists = lists(path);
        assert!(!lists.own_is_unused(&lists.read("x")));
        std::fs::write(&lists.own, "machines.b.uri = 'ssh://b'\n").unwrap();
        let list = lists.read("x");
        assert_eq!(list.machines, []);
        assert!(lists.own_is_unused(&list));
        let builders = format!("builders = @{}", lists.own.display());
        std::fs::write(path.join("nix.conf"), builders).unwrap();
        let list = lists.read("x");
        assert_eq!(list.machines.len(), 1);
        assert!(!lists.own_is_unused(&list));
    }

    #[test]
    fn systems() {
        assert_eq!(host_system("x86_64", "linux"), "x86_64-linux");
        assert_eq!(host_system("aarch64", "macos"), "aarch64-darwin");
        assert_eq!(host_system("x86", "linux"), "i686-linux");
    }
}
