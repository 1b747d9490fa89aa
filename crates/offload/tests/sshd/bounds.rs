//! Nothing hangs: every wait has a bound that its error names.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use offload::link::Destination;
use tokio::io::AsyncReadExt;

use crate::bed::{Bed, block_on, requirements};

#[test]
fn a_host_that_says_nothing() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    bed.configure(&format!(
        "Host host\nHostName 127.0.0.1\nPort {port}\nConnectTimeout 1"
    ));
    insta::assert_snapshot!(bed.reach("host"), @"no answer within 1 s to the SSH key exchange (bound key-exchange, or ConnectTimeout)");
    bed.configure_host("ConnectTimeout 1\nProxyCommand sleep 60");
    insta::assert_snapshot!(bed.reach("host"), @r#"failed to connect by ProxyCommand "sleep ..": no answer within 1 s to the SSH key exchange (bound key-exchange, or ConnectTimeout)"#);
}

#[test]
fn an_agent_that_says_nothing() {
    testbed::require!(requirements());
    let mut bed = Bed::new();
    bed.configure_host("IdentityAgent DIR/agent");
    bed.timeouts.authentication = Duration::from_secs(1);
    let _listener = std::os::unix::net::UnixListener::bind(bed.path("agent")).unwrap();
    insta::assert_snapshot!(bed.reach("host"), @"no answer within 1 s to SSH authentication (bound authentication)");
}

/// The host is stopped in the middle of a link, as if its cable were cut.
#[test]
fn a_link_that_goes_silent() {
    testbed::require!(requirements());
    let mut bed = Bed::new();
    bed.timeouts.keep_alive = Duration::from_millis(100);
    bed.configure_host("");
    block_on(async {
        let destination = Destination {
            host: "host".to_owned(),
            ..Destination::default()
        };
        let (link, _) = bed.connect(destination).await;
        let link = link.unwrap();
        let mut stream = link.exec("echo $PPID; read line").await.unwrap();
        let mut bytes = [0; 20];
        let count = stream.reader.read(&mut bytes).await.unwrap();
        let pid = String::from_utf8_lossy(&bytes[..count]).trim().to_owned();
        let stop = |signal: &str| bed.run(std::process::Command::new("kill").args([signal, &pid]));
        stop("-STOP");
        let ended = stream.reader.read(&mut bytes).await;
        stop("-CONT");
        let error = ended.expect_err("nothing comes any more");
        insta::assert_snapshot!(error, @"the host is silent: no answer to 3 keepalives in 0.1 s each (bounds keep-alive and keep-alive-misses, or ServerAliveInterval and ServerAliveCountMax)");
    });
}

#[test]
fn a_name_that_is_nobodys_and_an_address_that_is_not_there() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure("ConnectTimeout 5\nHost host\nHostName host.invalid\nHost here\nHostName 127.0.0.1\nPort 1\nHost six\nHostName 127.0.0.1\nAddressFamily inet6\nHost from\nHostName 127.0.0.1\nBindAddress here");
    let said = bed.reach("host");
    assert!(
        said.starts_with("failed to connect to host.invalid port 22: "),
        "{said}"
    );
    insta::assert_snapshot!(bed.reach("here"), @"failed to connect to 127.0.0.1 port 1: Connection refused (os error 111)");
    insta::assert_snapshot!(bed.reach("six"), @"failed to connect to 127.0.0.1 port 22: the host has no such address");
    insta::assert_snapshot!(bed.reach("from"), @r#"failed to connect to 127.0.0.1 port 22: BindAddress is not an address: "here""#);
}

#[test]
fn an_address_to_connect_from() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1]);
        from.ip()
    });
    bed.configure(&format!(
        "HostName 127.0.0.1\nPort {port}\nBindAddress 127.0.0.9\nConnectTimeout 5"
    ));
    let said = bed.reach("host");
    assert_eq!(accepted.join().unwrap().to_string(), "127.0.0.9", "{said}");
}
