//! The machine lists of this host: what `builders` says in its nix.conf, and our own.

use std::path::{Path, PathBuf};

use super::list::{Place, Reader};
use super::{MachineList, Origin, Problem};

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
    /// Our own list: `/etc/offload/machines.toml`.
    pub own: PathBuf,
}

impl Default for HostLists {
    fn default() -> Self {
        HostLists {
            nix: PathBuf::from("/etc/nix"),
            nix_config: String::new(),
            own: PathBuf::from("/etc/offload/machines.toml"),
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
    /// Reads what a hook would be given (`builders`, by default `@/etc/nix/machines`), and our own
    /// list, unless that names it too. `system` stands where neither nix.conf nor an entry has one.
    #[must_use]
    pub fn read(&self, system: &str) -> MachineList {
        let mut conf = Conf::default();
        conf.read_file(&self.nix.join("nix.conf"), 0);
        let place = Place::Counted("NIX_CONFIG".to_owned());
        conf.read_text(&self.nix_config, &place, &self.nix, 0);
        let mut reader = Reader::new(conf.system.as_deref().unwrap_or(system));
        let named = match &conf.builders {
            Some((builders, origin)) => {
                reader.read_text(builders, &Place::Line(origin.clone()), 0);
                Ok(())
            }
            None => reader.read_file(&self.nix.join(DEFAULT_BUILDERS), 0),
        };
        let own = match reader.list.files.iter().any(|file| file.path == self.own) {
            true => Ok(()),
            false => reader.read_file(&self.own, 0),
        };
        for error in [named, own].into_iter().filter_map(Result::err) {
            let origin = Origin {
                source: "default lists".to_owned(),
                line: 1,
                column: None,
            };
            let kind = error.into();
            reader.list.problems.push(Problem { origin, kind });
        }
        reader.list
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
    fn systems() {
        assert_eq!(host_system("x86_64", "linux"), "x86_64-linux");
        assert_eq!(host_system("aarch64", "macos"), "aarch64-darwin");
        assert_eq!(host_system("x86", "linux"), "i686-linux");
    }
}
