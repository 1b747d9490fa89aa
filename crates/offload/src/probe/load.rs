//! How busy a machine is and how much room it has, as one command there tells.

use store_path::StoreDir;

/// The load of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Running and waiting processes, on average over 1, 5 and 15 minutes.
    pub averages: [f64; 3],
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size, in bytes.
    pub total: u64,
    /// What is left for whoever is not root, in bytes.
    pub free: u64,
}

/// What a machine runs on, as `uname` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `Linux`
    pub kernel: String,
    /// Its version, `6.12.38`.
    pub release: String,
    /// `x86_64`
    pub architecture: String,
    /// Its own name for itself.
    pub name: String,
}

/// What a machine says of itself, each where it says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Vitals {
    pub(super) load: Option<Load>,
    pub(super) cores: Option<u32>,
    pub(super) disk: Option<Disk>,
    pub(super) host: Option<Host>,
    /// Seconds since 1970.
    pub(super) time: Option<i64>,
}

/// The command. A POSIX shell, Linux's `/proc`, GNU's or busybox's programs will do; what is not
/// there leaves its line out, and the names in front say which line is which.
pub(super) fn command(store_dir: &StoreDir) -> String {
    let store = store_dir.as_str().replace('\'', r"'\''");
    format!(
        "echo load $(cat /proc/loadavg); echo cores $(nproc); echo disk $(df -Pk '{store}' | tail -n 1); \
         echo host $(uname -s) $(uname -r) $(uname -m) $(uname -n); echo time $(date +%s)"
    )
}

/// Reads what [`command`] prints, and no nonsense.
pub(super) fn parse(output: &[u8]) -> Vitals {
    let text = String::from_utf8_lossy(output);
    let mut vitals = Vitals::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("load") => vitals.load = load(words),
            Some("cores") => {
                let cores = words.next().and_then(|word| word.parse().ok());
                vitals.cores = cores.filter(|cores| *cores > 0);
            }
            Some("disk") => vitals.disk = disk(words),
            Some("host") => vitals.host = host(words),
            Some("time") => vitals.time = words.next().and_then(|word| word.parse().ok()),
            _ => {}
        }
    }
    vitals
}

/// `0.42 0.36 0.30 1/123 4567`
fn load<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Load> {
    let mut averages = [0.0; 3];
    for average in &mut averages {
        let number: f64 = words.next()?.parse().ok()?;
        *average = (number.is_finite() && number >= 0.0).then_some(number)?;
    }
    Some(Load { averages })
}

/// `/dev/sda1 41152736 20871528 18158308 54% /nix`, in KiB; a device's name may hold blanks.
fn disk<'a>(words: impl Iterator<Item = &'a str>) -> Option<Disk> {
    let words: Vec<_> = words.collect();
    let percent = words.iter().rposition(|word| word.ends_with('%'))?;
    let number = |before: usize| -> Option<u64> {
        let kibibytes: u64 = words.get(percent.checked_sub(before)?)?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(Disk {
        total: number(3)?,
        free: number(1)?,
    })
}

/// `Linux 6.12.38 x86_64 farm1`
fn host<'a>(words: impl Iterator<Item = &'a str>) -> Option<Host> {
    let is_plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_graphic());
    let words: Vec<_> = words.filter(is_plain).map(str::to_owned).collect();
    let [kernel, release, architecture, name] = words.try_into().ok()?;
    Some(Host {
        kernel,
        release,
        architecture,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_machines_print() {
        let all = parse(b"load 0.42 0.36 0.30 1/123 4567\ncores 16\ndisk /dev/sd a1 41152736 20871528 18158308 54% /nix\nhost Linux 6.12.38 x86_64 farm1\ntime 1700000000\n");
        let words = ["Linux", "6.12.38", "x86_64", "farm1"].map(str::to_owned);
        let [kernel, release, architecture, name] = words;
        assert_eq!(
            all,
            Vitals {
                load: Some(Load {
                    averages: [0.42, 0.36, 0.30]
                }),
                cores: Some(16),
                disk: Some(Disk {
                    total: 41_152_736 << 10,
                    free: 18_158_308 << 10
                }),
                host: Some(Host {
                    kernel,
                    release,
                    architecture,
                    name
                }),
                time: Some(1_700_000_000),
            }
        );
        // A host without /proc and nproc.
        let less = parse(b"load\ncores\ndisk /dev/disk1 10 5 5 50% /nix\n");
        assert_eq!((less.load, less.cores), (None, None));
        assert!(less.disk.is_some());
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "",
            "nix-store: command not found",
            "load a b c",
            "load nan 1 1",
            "load 1 2",
            "load -1 0 0",
            "cores 0",
            "cores many",
            "disk",
            "disk 54%",
            "disk 1 2 3 4",
            "disk x 99999999999999999999 1 1 1% /",
            "disk x 18446744073709551615 1 1 1% /",
            "host Linux",
            "time soon",
            "\u{ff}\u{0}",
        ] {
            assert_eq!(parse(text.as_bytes()), Vitals::default(), "{text}");
        }
    }

    #[test]
    fn a_shell_understands_the_command() {
        let store = StoreDir::new("/").unwrap_or(StoreDir::NIX);
        let output = std::process::Command::new("sh")
            .args(["-c", &command(&store).replace("/nix/store", "/")])
            .output()
            .unwrap();
        let vitals = parse(&output.stdout);
        assert!(vitals.load.is_some() && vitals.cores.is_some() && vitals.disk.is_some());
        assert!(vitals.host.is_some() && vitals.time.is_some());
    }
}
