//! `offload store --socket` on the coordinator.

use std::{
    fs,
    io::Read,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use testbed::{Process, Signal};

use super::{
    client::{Client, Wanted},
    known,
};
use crate::{
    bed::{Bed, OUR_HOOK, bed, derivation, ours},
    registration::Registration,
};

/// How long the service may take to listen.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// A running service. It is ended when this is dropped.
pub(crate) struct Service<'a> {
    pub(super) bed: &'a Bed,
    pub(super) socket: String,
    process: Process,
}

impl<'a> Service<'a> {
    /// Starts one of that name, with `variables` in its environment.
    pub(super) fn start(bed: &'a Bed, name: &str, variables: &str, arguments: &str) -> Self {
        let socket = format!("/run/{name}.sock");
        let command = format!("{OUR_HOOK} store --socket {socket} {arguments}");
        Self::start_as(bed, socket, &format!("env {variables} {command}"))
    }

    /// As [`start`](Service::start), by any command.
    pub(crate) fn start_as(bed: &'a Bed, socket: String, command: &str) -> Self {
        let log = format!("{socket}.log");
        let script = format!("{command} </dev/null >{log} 2>&1 & echo $!");
        let pid = bed.run(&["sh", "-c", &script]);
        let deadline = Instant::now() + UP_WITHIN;
        let up = || UnixStream::connect(bed.pair.coordinator.outside(&socket)).is_ok();
        while !up() {
            let said = bed.pair.coordinator.read_file(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "it does not come up: {said}");
            thread::sleep(Duration::from_millis(10));
        }
        let processes = bed.pair.coordinator.processes();
        let processes = processes.expect("processes can be listed");
        let is_it = |process: &Process| process.pid_inside.to_string() == pid;
        let process = processes.into_iter().find(is_it).expect("it runs");
        Service {
            bed,
            socket,
            process,
        }
    }

    pub(super) fn connect(&self) -> UnixStream {
        let path = self.bed.pair.coordinator.outside(&self.socket);
        UnixStream::connect(path).expect("it listens")
    }

    /// For `--store`.
    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it is ours");
    }

    pub(crate) fn runs(&self) -> bool {
        let processes = self.bed.pair.coordinator.processes();
        let processes = processes.expect("processes can be listed");
        processes.contains(&self.process)
    }

    /// What it has written.
    pub(crate) fn said(&self) -> String {
        let log = format!("{}.log", self.socket);
        let said = self.bed.pair.coordinator.read_file(log);
        said.expect("it has a log")
    }

    /// The most memory that it has had, in MiB.
    pub(super) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
            >> 10
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        // One that has ended fails its test elsewhere.
        let _ = self.process.signal(Signal::KILL);
    }
}

/// What comes until the service hangs up.
pub(super) fn read_to_end(mut stream: &UnixStream, within: Duration) -> Vec<u8> {
    let mut all = Vec::new();
    let deadline = Instant::now() + within;
    let mut piece = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "it has not hung up within {within:?}");
        stream
            .set_read_timeout(Some(left))
            .expect("some time is left");
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            // It hung up before it had read everything.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("it has not hung up within {within:?}: {error}"),
        }
    }
}

#[test]
fn any_number_of_clients() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let service = Service::start(&bed, "any-number", "", "");
    serves(&service, "endpoint-socket");
    drop(service);
    bed.assert_clean();
}

/// A stock Nix is told of a store, and has it build.
fn serves(service: &Service<'_>, name: &str) {
    let bed = service.bed;
    let store = service.url();
    let nix = ["nix", "--extra-experimental-features", "nix-command"];
    bed.run(&[&nix[..], &["store", "ping", "--store", &store]].concat());
    for n in 0..3 {
        let expression = derivation(&format!("{name}-{n}"), "echo > $out", "");
        let out = bed.run(&[
            "nix-build",
            "--no-out-link",
            "--store",
            &store,
            "-E",
            &expression,
        ]);
        bed.assert_same_on_both(&out);
    }
}

/// systemd has the socket, with a mode of its own, and hands it over as descriptor 3.
#[test]
fn a_socket_that_systemd_hands_over() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let socket = "/run/activated.sock";
    let perl = format!(
        "use Socket; $^F = 3; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; \
         fileno(S) == 3 or die \"descriptor \".fileno(S); umask 0117; \
         bind(S, pack_sockaddr_un(\"{socket}\")) or die; listen(S, 99) or die; \
         $ENV{{LISTEN_FDS}} = 1; $ENV{{LISTEN_PID}} = $$; \
         exec \"{OUR_HOOK}\", \"store\", \"--socket\", \"/nowhere/else.sock\""
    );
    bed.pair
        .coordinator
        .write_file("/root/activate.pl", perl)
        .expect("the file is written");
    let service = Service::start_as(
        &bed,
        socket.to_owned(),
        "perl -e \"$(cat /root/activate.pl)\"",
    );
    assert_eq!(bed.run(&["stat", "-c", "%a", socket]), "660");
    serves(&service, "endpoint-activated");
    assert_eq!(service.said(), "");
    drop(service);
    bed.assert_clean();
}

/// Each client is served with the list as it is when it connects. One that cannot be understood does not count.
#[test]
fn the_machine_list_may_change() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let list = |line: &str| bed.pair.coordinator.write_file("/root/changing", line);
    let [first, second] = [
        bed.pair.machine_line(),
        bed.pair.extra_machine_line(Bed::SECOND),
    ];
    list(&format!("{first}\n")).expect("the file is written");
    let service = Service::start(&bed, "changing", "", "--machines /root/changing");
    let build = |client: &mut Client, name: &str| -> [bool; 2] {
        let name = format!("endpoint-changing-{name}");
        let [drv, out] = bed.instantiated(&derivation(&name, "echo > $out", ""));
        client.build(&Wanted::new(&bed, &drv, &[]));
        let hosts = [&bed.pair.builder, &bed.pair.extra_builders[Bed::SECOND]];
        hosts.map(|host| Registration::read(host, &out).is_some())
    };
    let mut old = Client::connect(&service);
    assert_eq!(build(&mut old, "before"), [true, false]);
    list(&format!("{second}\n")).expect("the file is written");
    assert_eq!(
        build(&mut Client::connect(&service), "after"),
        [false, true]
    );
    assert_eq!(build(&mut old, "old"), [true, false]);
    list(&format!("{first}\nhttp://broken\n")).expect("the file is written");
    for name in ["broken", "broken-still"] {
        assert_eq!(build(&mut Client::connect(&service), name), [false, true]);
    }
    drop(old);
    let said = service.said();
    let expected = "offload: the machine list has changed\n\
        offload: /root/changing:2: machine skipped: store URI has a scheme other than ssh and ssh-ng: \"http\"\n\
        offload: the machine list has changed, and the one of before counts: not all of it is understood\n";
    assert_eq!(said, expected);
    list(&format!("{first}\n")).expect("the file is written");
    assert_eq!(
        build(&mut Client::connect(&service), "mended"),
        [true, false]
    );
    drop(service);
    bed.assert_clean();
}
