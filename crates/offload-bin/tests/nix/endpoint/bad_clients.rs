//! Clients that do anything but what they should: each is hung up on within its bound, memory stays small, and a good
//! client's build goes on meanwhile.

use std::{
    io::Write,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Client, Wanted},
    known,
    service::{Service, read_to_end},
};
use crate::bed::{Bed, bed, derivation, ours};

/// The bounds of the services here, in seconds.
const BOUNDS: &str =
    "OFFLOAD_BOUNDS=client-greeting=2,client-request=2,client-silence=3,client-idle=60";

/// The sizes, in MiB.
const SIZES: &str = "--max-request 1 --max-upload 8";

/// More than any of the bounds, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How much memory a service may take, in MiB. It begins with about 20.
const MEMORY: u64 = 100;

/// Bytes of the protocol.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// A client's greeting, in version 1.37: the magic number, the version, two words of old.
    fn greeting() -> Self {
        Bytes::default()
            .word(0x6e69_7863)
            .word(0x125)
            .word(0)
            .word(0)
    }

    fn word(mut self, word: u64) -> Self {
        self.0.extend(word.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut bytes = self.word(text.len() as u64);
        bytes.0.extend(text.as_bytes());
        bytes.0.resize(bytes.0.len().next_multiple_of(8), 0);
        bytes
    }
}

/// Sends until the service hangs up or takes nothing for a while.
fn flood(mut stream: &UnixStream, piece: &[u8]) {
    stream
        .set_write_timeout(Some(LIMIT))
        .expect("it is a socket");
    let begun = Instant::now();
    while stream.write_all(piece).is_ok() {
        assert!(begun.elapsed() < LIMIT, "it takes data for ever");
    }
}

fn send(service: &Service<'_>, bytes: &Bytes) -> UnixStream {
    let mut stream = service.connect();
    stream.write_all(&bytes.0).expect("it takes so much");
    stream
}

/// What the service says before it hangs up, as text.
fn last_words(stream: &UnixStream) -> String {
    String::from_utf8_lossy(&read_to_end(stream, LIMIT)).into_owned()
}

/// A path of 16 MiB in the coordinator's store.
fn large_path(bed: &Bed) -> String {
    let make =
        "head -c 16M /dev/zero >/root/endpoint-large && nix-store --add /root/endpoint-large";
    bed.run(&["sh", "-c", make])
}

/// Lets `misbehave` do so again and again, while good clients build.
fn others_are_undisturbed(name: &str, misbehave: impl Fn(&Service<'_>) + Sync) {
    let bed = bed();
    let service = Service::start(&bed, name, BOUNDS, SIZES);
    let drvs = ["a", "b"].map(|n| {
        let script = "echo said >&2; echo built > $out; sleep 0.5";
        bed.instantiated(&derivation(
            &format!("endpoint-beside-{name}-{n}"),
            script,
            "",
        ))
    });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let again = || {
            while !over.load(Ordering::Relaxed) {
                misbehave(&service);
            }
        };
        let bad = [(); 3].map(|()| scope.spawn(again));
        for [drv, _] in &drvs {
            let (result, archive) = Client::connect(&service).build(&Wanted::new(&bed, drv, &[]));
            assert!(result.status.is_success());
            assert!(String::from_utf8_lossy(&archive).contains("built"));
        }
        over.store(true, Ordering::Relaxed);
        for bad in bad {
            bad.join().expect("each is hung up on");
        }
    });
    let peak = service.peak_memory();
    eprintln!(
        "{name}: at most {peak} MiB; {}",
        service.said().lines().last().unwrap_or_default()
    );
    assert!(peak <= MEMORY, "{peak} MiB");
    drop(service);
    bed.assert_clean();
}

macro_rules! bad_clients {
    ($($(#[$doc:meta])* $name:ident: $misbehave:expr;)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            testbed::require!();
            testbed::require!(ours());
            testbed::require!(known known(&bed()));
            others_are_undisturbed(&stringify!($name).replace('_', "-"), $misbehave);
        }
    )*};
}

bad_clients! {
    never_speaks: |service| {
        assert_eq!(read_to_end(&service.connect(), LIMIT), b"");
    };
    /// The service answers as far as it understood, and hangs up at once.
    ends_its_greeting_anywhere: |service| {
        let greeting = Bytes::greeting().0;
        for length in 0..greeting.len() {
            let mut stream = service.connect();
            stream.write_all(&greeting[..length]).expect("it takes so much");
            stream.shutdown(Shutdown::Write).expect("it is connected");
            let said = read_to_end(&stream, LIMIT);
            assert_eq!(said.len(), if length < 8 { 0 } else { 16 }, "{length} bytes");
        }
    };
    stops_in_its_greeting: |service| {
        let greeting = Bytes::greeting().0;
        let stopped: Vec<_> = (0..greeting.len())
            .map(|length| send(service, &Bytes(greeting[..length].to_vec())))
            .collect();
        for stream in stopped {
            read_to_end(&stream, LIMIT);
        }
    };
    speaks_something_else: |service| {
        let stream = send(service, &Bytes(b"GET / HTTP/1.1\r\n\r\n".to_vec()));
        read_to_end(&stream, LIMIT);
    };
    asks_for_what_there_is_not: |service| {
        let stream = send(service, &Bytes::greeting().word(9999));
        let said = last_words(&stream);
        assert!(said.contains("an operation of this version from 9999"), "{said}");
    };
    stops_in_a_request: |service| {
        let stream = send(service, &Bytes::greeting().word(1).word(50));
        read_to_end(&stream, LIMIT);
    };
    announces_more_than_there_is: |service| {
        let stream = send(service, &Bytes::greeting().word(31).word(1 << 60));
        let said = last_words(&stream);
        assert!(said.contains("failed to decode a length of 1152921504606846976"), "{said}");
    };
    /// QueryValidPaths with 6 MiB of paths.
    sends_a_request_of_many_megabytes: |service| {
        let mut question = Bytes::greeting().word(31).word(100_000);
        for n in 0..100_000 {
            question = question.text(&format!("/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-{n:06}"));
        }
        let mut stream = service.connect();
        // It hangs up before it has taken all of them.
        let _ = stream.write_all(&question.0);
        let said = last_words(&stream);
        assert!(said.contains("a message of more than 1048576 bytes"), "{said}");
    };
    /// AddMultipleToStore of no path, with frames behind it.
    sends_frames_without_end: |service| {
        let begun = Bytes::greeting().word(44).word(0).word(1).word(8).word(0);
        let stream = send(service, &begun);
        let frame = Bytes::default().word(1 << 16).0;
        flood(&stream, &[frame, vec![0; 1 << 16]].concat());
        read_to_end(&stream, LIMIT);
    };
    /// AddToStore of a file that never ends, of which the coordinator's daemon keeps what it gets.
    sends_a_file_without_end: |service| {
        let begun = Bytes::greeting().word(7).text("endless").text("fixed:r:sha256").word(0).word(0);
        let head = Bytes::default()
            .text("nix-archive-1").text("(").text("type").text("regular").text("contents").word(1 << 40);
        let begun = Bytes(begun.word(head.0.len() as u64).0.into_iter().chain(head.0).collect());
        let stream = send(service, &begun);
        let frame = Bytes::default().word(1 << 16).0;
        flood(&stream, &[frame, vec![0; 1 << 16]].concat());
        read_to_end(&stream, LIMIT);
    };
    stops_in_its_data: |service| {
        let stream = send(service, &Bytes::greeting().word(44).word(0).word(1).word(8));
        read_to_end(&stream, LIMIT);
    };
    stops_reading: |service| {
        let path = large_path(service.bed);
        let stream = send(service, &Bytes::greeting().word(38).text(&path));
        // As long as the bound is, and then some.
        thread::sleep(Duration::from_secs(5));
        let got = read_to_end(&stream, LIMIT).len();
        assert!(got < 16 << 20, "{got} bytes came all the same");
    };
    /// A thousand times all paths that there are.
    asks_and_does_not_listen: |service| {
        let questions = Bytes(Bytes::default().word(23).0.repeat(10_000));
        let mut stream = send(service, &Bytes::greeting());
        stream.set_write_timeout(Some(LIMIT)).expect("it is a socket");
        // It may hang up before it has taken all of them.
        let _ = stream.write_all(&questions.0);
        thread::sleep(Duration::from_secs(5));
        read_to_end(&stream, LIMIT);
    };
    hangs_up_while_it_builds: |service| {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("endpoint-deserted-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let script = "echo begun >&2; sleep 60";
        let [drv, _] = service.bed.instantiated(&derivation(&name, script, ""));
        Client::connect(service).desert(&Wanted::new(service.bed, &drv, &[]));
    };
}
