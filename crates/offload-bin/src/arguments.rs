//! Who calls, told by the arguments: a daemon gives numbers, a person gives words.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use offload::hook::GuixArguments;

use crate::broker::Broker;
use crate::explain::Explain;
use crate::guix_offload::GuixOffload;
use crate::machines::Machines;
use crate::status::Status;
use crate::store::Store;
use crate::test::Test;
use crate::{demo, guix};

/// How the program was called.
pub(crate) enum Call {
    /// By nix-daemon: one number, its verbosity.
    NixHook,
    /// By guix-daemon: `offload SYSTEM MAX-SILENT-TIME PRINT-TRACE BUILD-TIMEOUT`.
    GuixHook(GuixArguments),
    /// By guix-daemon, for anything else that it has `guix` do: all of its arguments.
    Guix(Vec<OsString>),
    /// As the program of a `builders` line: `--stdio`.
    Endpoint,
    /// By a person.
    Command(Command),
}

/// Hands builds of a store daemon to other machines, over SSH.
///
/// As a build hook it needs no subcommand: `build-hook = /path/to/offload` in nix.conf is enough.
#[derive(Parser)]
#[command(
    name = "offload",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What a person can ask for.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows one build going to another machine and back, inside this process.
    ///
    /// Starts an SSH server on loopback with a small store daemon behind it, and offers the hook a
    /// build with one input. Needs neither root nor Nix nor sshd.
    Demo {
        /// Keep the folder with both stores.
        #[arg(long)]
        keep: bool,
    },
    /// Serves all machines as one store that builds.
    ///
    /// For a Nix whose daemon takes no build hook: `offload store --print-builders` prints the line
    /// for nix.conf.
    Store(Store),
    /// Keeps connections to machines open between builds, for the hooks of this host.
    ///
    /// Optional: without it every build connects anew, which takes seven round trips of some nine. Hooks and the store
    /// endpoint look for it at /run/offload/broker.sock, or where OFFLOAD_BROKER says. Serves root and the user who runs
    /// it, nobody else.
    Broker(Broker),
    /// Prints what was understood of the machine lists, and from where; converts them.
    ///
    /// Reads Nix's lines, Lix's TOML and our own, told by what they look like or by the name *.toml; and with `--guix`, or
    /// by the name *.scm, Guix's machines.scm, of which it says whether it was read or had to be evaluated by guix repl.
    /// Exit code: 0 where everything was understood (and could be said in the other format), 1 where
    /// something was not, which standard error names with file and line; 2 for wrong arguments.
    Machines(Machines),
    /// Tests machines step by step, as the daemon's hook would use them.
    ///
    /// Goes from the configuration over name, private key, connection, host key, authentication,
    /// daemon and trust to importing a path there and exporting it back, and says at the first step
    /// that fails what to do. Run it as the daemon's user (root, as a rule): keys and known hosts
    /// are the user's own. The path that is imported, /nix/store/...-offload-test, holds one line;
    /// it is not registered here, and stays there until the machine collects its garbage.
    ///
    /// Exit code: 0 where all machines would do, 1 where one would not, 2 for wrong arguments.
    Test(Test),
    /// Prints how machines stand: reachable or why not, way, version, trust, load, cores, room for
    /// the store, slots in use, outages.
    ///
    /// Machines are asked all at a time. What a machine does not tell, because its key allows no
    /// commands, is unknown. Slots are those of this host's builds. An outage is what builds
    /// remember of a machine that they could not reach; one that is reached now is forgotten.
    ///
    /// Exit code: 0 where all machines are reached, 1 where one is not, 2 for wrong arguments.
    Status(Status),
    /// Prints which machine a build would get at this moment, and why not the others.
    ///
    /// Asks no machine: says what the hook would choose from what this host knows, slots in use and
    /// outages among it.
    ///
    /// Exit code: 0 where there is a machine, 1 where there is none or all are busy, 2 for wrong
    /// arguments.
    Explain(Explain),
    /// What `guix offload` does for people: `offload offload test`, `offload offload status`.
    ///
    /// With the arguments and lines of stock's, for whoever knows that. guix-daemon calls it with other arguments:
    /// SYSTEM MAX-SILENT-TIME PRINT-BUILD-TRACE? BUILD-TIMEOUT.
    #[command(
        subcommand,
        version,
        display_name = "offload offload",
        override_usage = "offload offload <COMMAND>\n       \
            offload offload SYSTEM MAX-SILENT-TIME PRINT-BUILD-TRACE? BUILD-TIMEOUT"
    )]
    Offload(GuixOffload),
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Command::Demo { keep } => demo::run(keep),
            Command::Store(store) => or_failure(store.run()),
            Command::Broker(broker) => or_failure(broker.run()),
            Command::Machines(machines) => or_usage(machines.run()),
            Command::Test(test) => or_usage(test.run()),
            Command::Status(status) => or_usage(status.run()),
            Command::Explain(explain) => or_usage(explain.run()),
            Command::Offload(offload) => or_usage(offload.run()),
        }
    }
}

impl Call {
    /// Reads the process's arguments. Ends the process where they are a person's and wrong.
    pub(crate) fn from_process() -> Self {
        let given: Vec<OsString> = std::env::args_os().skip(1).collect();
        let arguments: Vec<String> = given
            .iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        match Call::of_daemon(&arguments) {
            Some(call) => call,
            None if is_guixs(&arguments) && guix::stands_in() => Call::Guix(given),
            None => Call::Command(CommandLine::parse().command),
        }
    }

    fn of_daemon(arguments: &[String]) -> Option<Self> {
        let is_number = |text: &String| text.parse::<u64>().is_ok();
        match arguments {
            [verbosity] if is_number(verbosity) => Some(Call::NixHook),
            [offload, rest @ ..] if offload == "offload" => {
                GuixArguments::parse(rest).map(Call::GuixHook)
            }
            [stdio] if stdio == "--stdio" => Some(Call::Endpoint),
            rest => GuixArguments::parse(rest).map(Call::GuixHook),
        }
    }
}

/// Whether the first argument is none of our own commands or options.
fn is_guixs(arguments: &[String]) -> bool {
    use clap::CommandFactory;
    arguments.first().is_some_and(|first| {
        let ours = CommandLine::command();
        !first.starts_with('-')
            && first != "offload"
            && first != "help"
            && ours.find_subcommand(first).is_none()
    })
}

/// What ended a service is told.
pub(crate) fn or_failure(run: Result<(), String>) -> ExitCode {
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offload: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What keeps a command from beginning is told, with the exit code for wrong arguments.
fn or_usage(run: Result<ExitCode, String>) -> ExitCode {
    run.unwrap_or_else(|error| {
        eprintln!("offload: {error}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_daemon(line: &str) -> Option<Call> {
        let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Call::of_daemon(&arguments)
    }

    #[test]
    fn a_daemon_gives_numbers_and_a_person_words() {
        assert!(matches!(of_daemon("3"), Some(Call::NixHook)));
        assert!(matches!(of_daemon("--stdio"), Some(Call::Endpoint)));
        assert!(matches!(
            of_daemon("x86_64-linux 3600 0 0"),
            Some(Call::GuixHook(_))
        ));
        assert!(matches!(
            of_daemon("offload x86_64-linux 3600 true 0"),
            Some(Call::GuixHook(_))
        ));
        for words in [
            "",
            "demo",
            "3 4",
            "demo --keep",
            "a b c d",
            "-1",
            "offload 3",
            "offload a b",
        ] {
            assert!(of_daemon(words).is_none(), "{words}");
        }
    }

    #[test]
    fn what_is_none_of_ours_is_guixs() {
        let is_guixs = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            is_guixs(&words)
        };
        for line in [
            "authenticate",
            "gc --list-busy",
            "perform-download a b",
            "substitute --query",
        ] {
            assert!(is_guixs(line), "{line}");
        }
        for line in ["", "--help", "demo", "help", "offload x"] {
            assert!(!is_guixs(line), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }
}
