//! Every text of an error that a person may read and that no other test brings about.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use offload::failure::{Failure, RemoteFailure};
use offload::fleet::Refusals;
use offload::job::JobError;
use offload::link::{ConfigError, LinkError, Step, TokenError};
use offload::local::{AuthenticateError, DatabaseError, ImportError, LocalError, ProgramError};
use offload::schedule::Reason;
use offload::slots::SlotError;
use store_path::StoreDir;
use worker_protocol::{BuildStatus, RemoteError};

fn file() -> PathBuf {
    PathBuf::from("/etc/nix/key")
}

fn refused() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

#[test]
fn links() {
    let errors = [
        LinkError::KeyFile {
            file: file(),
            reason: "no such file".to_owned(),
        },
        LinkError::Passphrase(file()),
        LinkError::NoKey("/root/.ssh/id_rsa, /root/.ssh/id_ed25519".to_owned()),
        LinkError::Connect {
            address: "farm1 port 22".to_owned(),
            reason: "connection refused".to_owned(),
        },
        LinkError::Command {
            command: "nc farm1 22".to_owned(),
            reason: "nc: not found".to_owned(),
        },
        LinkError::Jump {
            host: "gate".to_owned(),
            error: Box::new(LinkError::Passphrase(file())),
        },
        LinkError::Config(ConfigError::TooManyJumps("farm1".to_owned())),
        LinkError::Config(ConfigError::Token {
            option: "IdentityFile",
            host: "farm1".to_owned(),
            error: TokenError::Unknown('z', "~/%z".to_owned()),
        }),
        LinkError::Refused {
            user: "ci".to_owned(),
            keys: "/etc/nix/key".to_owned(),
        },
        LinkError::Channel {
            way: "socket /nix/var/nix/daemon-socket/socket".to_owned(),
            reason: "ConnectFailed".to_owned(),
        },
    ];
    let steps = [
        Step::Connect,
        Step::KeyExchange,
        Step::Authentication,
        Step::Channel,
    ];
    let limit = Duration::from_secs(10);
    let waits = steps.map(|step| LinkError::TimedOut { step, limit });
    let texts = errors.iter().chain(&waits).map(ToString::to_string);
    insta::assert_snapshot!(texts.collect::<Vec<_>>().join("\n"));
}

#[test]
fn failures() {
    let remote = |error| Failure::Remote {
        action: "build",
        error,
    };
    let errors = [
        Failure::TooOld {
            what: "content-addressed outputs",
            protocol: 21,
            needed: 28,
        },
        Failure::NoDaemon("socket a is refused; command b is refused".to_owned()),
        remote(RemoteFailure::Daemon(RemoteError::new(
            "you are not trusted",
        ))),
        remote(RemoteFailure::Command("sh: guix: not found".to_owned())),
        remote(RemoteFailure::Silent(Duration::from_secs(600))),
        remote(RemoteFailure::Talkative(16 << 20)),
        Failure::Reference {
            output: "/nix/store/out".to_owned(),
            reference: "/nix/store/other".to_owned(),
        },
        Failure::OtherInput {
            input: "/gnu/store/a".to_owned(),
            made: "/gnu/store/b".to_owned(),
        },
        Failure::MissingOutput("/nix/store/out".to_owned()),
        Failure::Build {
            status: BuildStatus::PermanentFailure,
            message: "builder failed with exit code 1".to_owned(),
        },
        Failure::TimedOut {
            what: "printed nothing",
            seconds: 60,
        },
        Failure::Job(JobError::Kind("/nix/store/x.drv".to_owned())),
        Failure::Import(ImportError::Export {
            path: file(),
            reason: "the archive is cut off".to_owned(),
        }),
        Failure::Import(ImportError::OtherPath {
            path: file(),
            exported: "/gnu/store/b".to_owned(),
        }),
        Failure::Import(ImportError::Unsigned(file())),
        Failure::Import(ImportError::Verify {
            path: file(),
            error: AuthenticateError::NoGuix,
        }),
        Failure::Import(ImportError::TooLarge {
            path: file(),
            maximum: 100,
        }),
        Failure::Import(ImportError::LowDisk {
            path: file(),
            free: 7 << 20,
            least: 8 << 20,
        }),
        Failure::Import(ImportError::Signature {
            path: file(),
            reason: "signature is by a key that is not authorized: 8D15".to_owned(),
        }),
        Failure::Import(ImportError::Leftover {
            path: file(),
            source: refused(),
        }),
        Failure::Import(ImportError::ReadBack {
            path: file(),
            source: refused(),
        }),
    ];
    insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"));
}

#[test]
fn the_coordinators_own_trouble() {
    let errors = [
        LocalError::Database(DatabaseError::Schema {
            path: PathBuf::from("/nix/var/nix/db/schema"),
            known: "10",
            found: "11".to_owned(),
        }),
        LocalError::Corrupt("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x".to_owned()),
        LocalError::Database(DatabaseError::Row {
            path: PathBuf::from("/nix/var/nix/db/db.sqlite"),
            store_path: "/nix/store/x".to_owned(),
            column: "hash",
            text: "sha256:".to_owned(),
        }),
        LocalError::Database(DatabaseError::Reference {
            referrer: "/nix/store/x".to_owned(),
            reference: "/nix/store/y".to_owned(),
        }),
        LocalError::Read {
            path: PathBuf::from("/nix/store"),
            source: refused(),
        },
        LocalError::TooLarge {
            path: PathBuf::from("/nix/store/x.drv"),
            maximum: 256 << 20,
        },
        LocalError::Programs(ProgramError {
            action: "register outputs",
            program: PathBuf::from("/usr/bin/nix-store"),
            reason: "no answer within 60 s".to_owned(),
        }),
        LocalError::NotValid("/nix/store/x".to_owned()),
    ];
    let slots = [
        SlotError::Io {
            path: PathBuf::from("/nix/var/nix/current-load/main-lock"),
            source: refused(),
        },
        SlotError::Held {
            path: PathBuf::from("/nix/var/nix/current-load/main-lock"),
            patience: Duration::from_secs(30),
        },
    ];
    let mut texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.extend(slots.iter().map(ToString::to_string));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn refusals() {
    let refusals = Refusals(vec![
        ("ssh://a".to_owned(), Reason::Full { max_jobs: 8 }),
        (
            "ssh://b".to_owned(),
            Reason::Failed("cannot be reached".to_owned()),
        ),
    ]);
    insta::assert_snapshot!(format!("{}\n{refusals}", Refusals::default()));
}

/// A database that is not Nix's, or none at all, is told and left alone.
#[test]
fn databases_that_are_none() {
    use offload::local::Database;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let open = || {
        let error = Database::open(state, StoreDir::NIX, Duration::from_secs(1)).unwrap_err();
        error
            .to_string()
            .replace(&state.display().to_string(), "STATE")
    };
    let mut texts = vec![open()];
    std::fs::create_dir(state.join("db")).unwrap();
    std::fs::write(state.join("db/schema"), "10").unwrap();
    texts.push(open());
    insta::assert_snapshot!(texts.join("\n"));
    assert!(!state.join("db/db.sqlite").exists(), "nothing is created");
}
