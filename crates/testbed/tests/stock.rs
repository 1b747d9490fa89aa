//! The bed itself, with nothing but stock tools on it: what fails here is not the hook's fault.

use std::{
    fs,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use testbed::{Direction, HostOptions, Mount, Pair, PairOptions, StoreDaemon};

const TRIVIAL: &str = r#"{ id }: derivation {
  name = "trivial-${id}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ${id} > $out" ];
}"#;

/// One pair for all tests; they take turns, because some look at all of its processes.
fn pair() -> MutexGuard<'static, Pair> {
    static PAIR: LazyLock<Mutex<Pair>> = LazyLock::new(|| {
        let pair = Pair::start(PairOptions {
            coordinator: HostOptions {
                nix_conf: vec![
                    "max-jobs = 0".into(),
                    "builders = @/etc/nix/machines".into(),
                ],
                mounts: vec![Mount::new("/etc/hostname", "/opt/mounted")],
                ..HostOptions::default()
            },
            extra_builders: vec![HostOptions {
                store: StoreDaemon::Absent,
                ..HostOptions::default()
            }],
            ..PairOptions::default()
        });
        let pair = pair.expect("the bed starts");
        pair.coordinator
            .write_file("/root/trivial.nix", TRIVIAL)
            .expect("the file is written");
        Mutex::new(pair)
    });
    PAIR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn stock_tools_build_on_the_builder() {
    testbed::require!();
    let pair = pair();
    for scheme in ["ssh-ng", "ssh"] {
        let line = pair
            .machine_line()
            .to_string()
            .replacen("ssh-ng", scheme, 1);
        pair.coordinator
            .write_file("/etc/nix/machines", format!("{line}\n"))
            .unwrap();
        let path = pair
            .coordinator
            .run(&[
                "nix-build",
                "trivial.nix",
                "--no-out-link",
                "--argstr",
                "id",
                scheme,
            ])
            .unwrap();
        for host in [&pair.coordinator, &pair.builder] {
            assert_eq!(
                host.read_file(path.trim()).unwrap(),
                format!("{scheme}\n"),
                "{}",
                host.name()
            );
        }
    }
    for host in [&pair.coordinator, &pair.builder] {
        host.run(&["nix-store", "--verify", "--check-contents"])
            .unwrap();
        assert_eq!(host.strays_after(Duration::from_secs(20)).unwrap(), []);
        assert_eq!(
            host.held_locks("/nix/var/nix/current-load").unwrap(),
            Vec::<std::path::PathBuf>::new()
        );
    }
}

#[test]
fn a_host_has_its_own_root_name_and_processes() {
    testbed::require!();
    let pair = pair();
    let coordinator = &pair.coordinator;
    assert_eq!(
        coordinator
            .run(&["cat", "/proc/sys/kernel/hostname"])
            .unwrap(),
        "coordinator\n"
    );
    assert_eq!(
        pair.builder
            .run(&["cat", "/proc/sys/kernel/hostname"])
            .unwrap(),
        "builder\n"
    );
    assert_eq!(
        coordinator.run(&["cat", "/opt/mounted"]).unwrap(),
        fs::read_to_string("/etc/hostname").unwrap()
    );
    coordinator.write_file("/root/here", "here").unwrap();
    assert_eq!(coordinator.run(&["cat", "here"]).unwrap(), "here");
    assert!(
        !pair
            .builder
            .exec(&["test", "-e", "/root/here"])
            .unwrap()
            .status
            .success()
    );
    assert_eq!(
        coordinator
            .run(&["sh", "-c", "ls /proc | grep -cx 1; cat /proc/1/comm"])
            .unwrap(),
        "1\nbash\n"
    );
    let names: Vec<_> = coordinator
        .processes()
        .unwrap()
        .into_iter()
        .map(|process| process.name)
        .collect();
    assert_eq!(names, ["bash", "nix-daemon"]);
}

/// Looks until it is so; nothing here needs more than moments on an idle machine.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_orphan_is_a_stray_until_it_ends_and_is_reaped() {
    testbed::require!();
    let pair = pair();
    let coordinator = &pair.coordinator;
    let orphan = "rm -f fifo; mkfifo fifo; setsid cat fifo >/dev/null 2>&1 &";
    coordinator.run(&["sh", "-c", orphan]).unwrap();
    eventually("cat is a stray", || {
        let strays = coordinator.strays().unwrap();
        strays.len() == 1 && strays[0].command_line == "cat fifo"
    });
    coordinator.run(&["sh", "-c", ": > fifo"]).unwrap();
    assert_eq!(
        coordinator.strays_after(Duration::from_secs(20)).unwrap(),
        []
    );
    let zombies = "cat /proc/[0-9]*/stat | grep -c ' Z ' || true";
    assert_eq!(coordinator.run(&["sh", "-c", zombies]).unwrap(), "0\n");
}

#[test]
fn a_command_that_overruns_is_killed() {
    testbed::require!();
    let pair = pair();
    let command = ["sh", "-c", "echo before; sleep 100; true"];
    let error = pair
        .builder
        .exec_within(Duration::from_secs(2), &command)
        .unwrap_err();
    let expected = "builder: `sh -c echo before; sleep 100; true` was killed after 2s, having printed\nbefore\n";
    assert_eq!(error.to_string(), expected);
    assert_eq!(
        pair.builder.strays_after(Duration::from_secs(20)).unwrap(),
        []
    );
}

#[test]
fn a_lock_is_seen_while_it_is_held() {
    testbed::require!();
    let pair = pair();
    let coordinator = &pair.coordinator;
    coordinator.write_file("/root/locks/free", "").unwrap();
    coordinator.write_file("/root/locks/held", "").unwrap();
    assert!(coordinator.held_locks("/root/locks").unwrap().is_empty());
    let hold = "rm -f fifo; mkfifo fifo; flock locks/held cat fifo >/dev/null 2>&1 &";
    coordinator.run(&["sh", "-c", hold]).unwrap();
    let held = [coordinator.outside("/root/locks/held")];
    eventually("the lock is held", || {
        coordinator.held_locks("/root/locks").unwrap() == held
    });
    coordinator.run(&["sh", "-c", ": > fifo"]).unwrap();
    eventually("the lock is free", || {
        coordinator.held_locks("/root/locks").unwrap().is_empty()
    });
    assert_eq!(
        coordinator.strays_after(Duration::from_secs(20)).unwrap(),
        []
    );
}

#[test]
fn a_builder_without_a_store_lets_in_and_finds_nothing() {
    testbed::require!();
    let pair = pair();
    let (builder, line) = (&pair.extra_builders[0], pair.extra_machine_line(0));
    assert_eq!(line.uri, "ssh-ng://root@127.0.0.2");
    assert_eq!(builder.processes().unwrap().len(), 2, "process 1 and sshd");
    let options = [
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=no",
        "-oUserKnownHostsFile=/dev/null",
    ];
    let command = [
        &["ssh"],
        &options[..],
        &["root@127.0.0.2", "nix-daemon --stdio"],
    ]
    .concat();
    let output = pair.coordinator.exec(&command).unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", output.stderr);
    assert!(
        output.stderr.contains("nix-daemon: not found"),
        "{}",
        output.stderr
    );
}

#[test]
fn processor_time_is_that_of_all_processes() {
    testbed::require!();
    let pair = pair();
    let before = match pair.coordinator.cpu_time() {
        Ok(time) => time,
        Err(missing) => {
            testbed::require!(Err::<(), _>(missing));
            unreachable!("it is left out");
        }
    };
    // Each loop prints its own processor seconds; one is an orphan, the other's parent waits for it.
    let spin = "TIMEFORMAT=%U; time for ((i = 0; i < 200000; i++)); do :; done";
    let both = format!("setsid -f bash -c '{spin}'; bash -c '{spin}'");
    let output = pair.coordinator.exec(&["bash", "-c", &both]).unwrap();
    assert_eq!(
        pair.coordinator
            .strays_after(Duration::from_secs(60))
            .unwrap(),
        []
    );
    let used = (pair.coordinator.cpu_time().unwrap().total() - before.total()).as_secs_f64();
    let one: f64 = output.stderr.lines().next().unwrap().parse().unwrap();
    assert!(
        used > 1.5 * one && used < 4.0 * one + 1.0,
        "{used} s for two loops of {one} s each"
    );
}

#[test]
fn a_link_takes_its_time_and_carries_all() {
    testbed::require!();
    let pair = pair();
    let link = pair.open_link(Duration::from_millis(200)).unwrap();
    let greeting = format!(
        "exec 3<>/dev/tcp/{}/22; read -r line <&3; echo \"$line\"",
        link.address()
    );
    let output = pair.coordinator.exec(&["bash", "-c", &greeting]).unwrap();
    assert!(output.stdout.starts_with("SSH-2.0-"), "{output:?}");
    // TCP's handshake and the greeting: two round trips, of which connect(2) sees one.
    assert!(
        output.elapsed >= Duration::from_millis(400),
        "{:?}",
        output.elapsed
    );
    let target = format!("root@{}", link.address());
    let ssh = "ssh -oBatchMode=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null";
    let there_and_back =
        format!("seq 200000 | {ssh} {target} cat | sha256sum; seq 200000 | sha256sum");
    let sums = pair
        .coordinator
        .run(&["bash", "-c", &there_and_back])
        .unwrap();
    let sums: Vec<_> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
    drop(link);
    let refused = pair.coordinator.exec(&["bash", "-c", &greeting]).unwrap();
    assert!(refused.stderr.contains("refused"), "{refused:?}");
}

#[test]
fn a_dropped_pair_leaves_nothing() {
    testbed::require!();
    let pair = Pair::start(PairOptions::default()).unwrap();
    let roots: Vec<_> = [&pair.coordinator, &pair.builder]
        .map(|host| host.root())
        .into();
    let pids: Vec<_> = pair
        .builder
        .processes()
        .unwrap()
        .into_iter()
        .map(|process| process.pid)
        .collect();
    assert_eq!(pids.len(), 3);
    drop(pair);
    for root in roots {
        assert!(!root.parent().unwrap().exists(), "{}", root.display());
    }
    for pid in pids {
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
}

#[test]
fn a_service_that_does_not_start_is_shown_with_its_log() {
    testbed::require!();
    let builder = HostOptions {
        sshd_config: vec!["NoSuchKeyword yes".into()],
        ..HostOptions::default()
    };
    let error = Pair::start(PairOptions {
        builder,
        ..PairOptions::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("builder did not come up: sshd has ended\n"),
        "{error}"
    );
    assert!(error.contains("NoSuchKeyword"), "{error}");
}

#[test]
fn a_host_that_crashed_has_its_files_when_it_is_booted() {
    testbed::require!();
    let mut pair = Pair::start(PairOptions::default()).unwrap();
    pair.builder.write_file("/root/kept", "kept").unwrap();
    let before = pair.builder.processes().unwrap();
    pair.builder.crash().unwrap();
    for process in before {
        assert!(!fs::exists(format!("/proc/{}", process.pid)).unwrap());
    }
    let greet = |pair: &Pair| {
        let greeting = "exec 3<>/dev/tcp/127.0.0.1/22; read -r line <&3; echo \"$line\"";
        pair.coordinator.exec(&["bash", "-c", greeting]).unwrap()
    };
    assert!(greet(&pair).stderr.contains("refused"));
    pair.builder.boot().unwrap();
    assert_eq!(pair.builder.run(&["cat", "/root/kept"]).unwrap(), "kept");
    assert!(greet(&pair).stdout.starts_with("SSH-2.0-"));
    // Down when it is dropped.
    pair.builder.crash().unwrap();
    pair.builder.crash().unwrap();
    let root = pair.builder.root();
    drop(pair);
    assert!(!root.exists(), "{}", root.display());
}

#[test]
fn a_link_holds_what_it_is_told_to_and_counts_round_trips() {
    testbed::require!();
    let pair = pair();
    let link = pair.open_link(Duration::from_millis(100)).unwrap();
    // The greeting comes unasked: TCP's handshake, and the server's half of a round trip, which nothing waited for.
    let greeting = format!(
        "exec 3<>/dev/tcp/{}/22; read -r -t 1 line <&3; echo \"$line\"",
        link.address()
    );
    let greet = || pair.coordinator.exec(&["bash", "-c", &greeting]).unwrap();
    assert!(greet().stdout.starts_with("SSH-2.0-"));
    assert_eq!((link.round_trips(), link.connections()), (1, 1));
    // Its own key exchange makes sshd answer a client's greeting: one more.
    let answer = format!(
        "exec 3<>/dev/tcp/{}/22; read -r line <&3; printf 'SSH-2.0-x\\r\\n' >&3; head -c 4 <&3 | wc -c",
        link.address()
    );
    link.reset();
    let answered = pair.coordinator.run(&["bash", "-c", &answer]).unwrap();
    assert_eq!((answered.trim(), link.round_trips()), ("4", 2));
    link.reset();
    link.hold_after(Direction::FromBuilder, 5);
    assert_eq!(greet().stdout, "SSH-2\n");
    assert_eq!(link.carried(Direction::FromBuilder), 5);
    link.reset();
    link.fall_silent();
    assert_eq!(greet().stdout, "\n");
    link.cut();
    assert!(greet().stdout.starts_with("SSH-2.0-"));
}
