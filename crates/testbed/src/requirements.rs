//! What a bed needs of the machine, and what becomes of a test on a machine that lacks it.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    process::{Command, Stdio},
};

use crate::Distribution;

/// The environment variable that names the file to which a `LEFT OUT <test>: <reason>` line is added for each test
/// that did not run.
pub const LEFT_OUT_VARIABLE: &str = "OFFLOAD_LEFT_OUT";

/// The environment variable that, set to `1`, makes a test fail that would be left out.
pub const REQUIRE_VARIABLE: &str = "OFFLOAD_REQUIRE_PEERS";

/// What the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    reasons: Vec<String>,
}

impl Missing {
    pub(crate) fn one(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reasons.join("; "))
    }
}

impl std::error::Error for Missing {}

/// Programs and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 10] = [
    ("bash", "bash"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nix-build", "nix-bin"),
    ("nix-daemon", "nix-bin"),
    ("nsenter", "util-linux"),
    ("pivot_root", "util-linux"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("unshare", "util-linux"),
];

/// Whether a [`Pair`](crate::Pair) of this machine's distribution can be started here.
///
/// # Errors
/// [`Missing`] names all that is missing: root, programs with their packages, the right to make namespaces.
pub fn requirements() -> Result<(), Missing> {
    let mut reasons = Vec::new();
    let machine = Distribution::machine();
    for (program, package) in PROGRAMS {
        if !machine.has_program(program) {
            reasons.push(format!("no {program} (package {package})"));
        }
    }
    if !rustix::process::geteuid().is_root() {
        reasons.push("not root".to_owned());
    } else if machine.has_program("unshare") && !may_make_namespaces() {
        reasons.push("no right to make namespaces and mounts".to_owned());
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Missing { reasons })
    }
}

fn may_make_namespaces() -> bool {
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--uts",
        "--mount",
        "--pid",
        "--fork",
        "--propagation",
        "private",
    ]);
    command.args(["mount", "-t", "proc", "proc", "/proc"]);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether `test` runs here; behind [`require!`](crate::require), which fills in the name.
///
/// If it does not, `LEFT OUT <test>: <reason>` goes to standard error, past the test harness's capture, and to the end
/// of the file that [`LEFT_OUT_VARIABLE`] names.
///
/// # Panics
/// If it does not run and [`REQUIRE_VARIABLE`] is `1`, or the report cannot be written.
pub fn runs_here(test: &str, requirements: Result<(), impl fmt::Display>) -> bool {
    let Err(missing) = requirements else {
        return true;
    };
    let line = format!("LEFT OUT {test}: {missing}\n");
    report(&line).expect("the report of what was left out can be written");
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
    assert!(!required, "{}", line.trim_end());
    false
}

/// Whether the hosts' versions have what `test` is about; behind [`require!`](crate::require), which fills in the name.
///
/// If they do not, `NOT WITH THIS VERSION <test>: <reason>` goes to standard error: nothing is left out, as there is
/// nothing to test.
pub fn is_known_here(test: &str, known: Result<(), impl fmt::Display>) -> bool {
    let Err(unknown) = known else {
        return true;
    };
    eprintln!("NOT WITH THIS VERSION {test}: {unknown}");
    false
}

fn report(line: &str) -> io::Result<()> {
    // Written as one piece: other tests report at the same time.
    io::stderr().write_all(line.as_bytes())?;
    match std::env::var_os(LEFT_OUT_VARIABLE) {
        Some(file) => OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)?
            .write_all(line.as_bytes()),
        None => Ok(()),
    }
}

/// Returns from the test that it stands in, loudly, if the machine lacks something: the [`requirements`], or what the
/// given `Result` says.
///
/// ```no_run
/// fn offloads_a_build() {
///     testbed::require!();
///     testbed::require!(Err::<(), _>("no guix"));
///     unreachable!("it was left out");
/// }
/// # offloads_a_build();
/// ```
#[macro_export]
macro_rules! require {
    () => {
        $crate::require!($crate::requirements())
    };
    (known $known:expr) => {
        $crate::require!($crate::is_known_here, $known)
    };
    ($requirements:expr) => {
        $crate::require!($crate::runs_here, $requirements)
    };
    ($judge:path, $requirements:expr) => {{
        // A test's thread is not always named after it; the type of a function inside is.
        fn here() {}
        let name = ::std::any::type_name_of_val(&here);
        if !$judge(name.strip_suffix("::here").unwrap_or(name), $requirements) {
            return;
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named() {
        let missing = Missing {
            reasons: vec!["no sshd (package openssh-server)".into(), "not root".into()],
        };
        assert_eq!(
            missing.to_string(),
            "no sshd (package openssh-server); not root"
        );
    }

    #[test]
    fn a_test_that_has_all_it_needs_runs() {
        assert!(runs_here("x", Ok::<(), Missing>(())));
    }
}
