//! Greets a store daemon: `ping [SOCKET]`.

use store_path::StoreDir;
use tokio::net::UnixStream;
use worker_protocol::client::{Client, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = std::env::args().nth(1);
    let socket = socket
        .as_deref()
        .unwrap_or("/nix/var/nix/daemon-socket/socket");
    let options = match socket.contains("guix") {
        true => Options::guix(StoreDir::GUIX),
        false => Options::nix(StoreDir::NIX),
    };
    let (reader, writer) = UnixStream::connect(socket).await?.into_split();
    let mut client = Client::new(reader, writer, options);
    client.handshake(&mut |log| eprintln!("{log:?}")).await?;
    let version = client.version().expect("it is known after the handshake");
    println!("protocol {version}");
    println!(
        "program {}",
        client.daemon_version().unwrap_or("(it does not say)")
    );
    match client.trusted() {
        Some(true) => println!("we are trusted"),
        Some(false) => println!("we are not trusted"),
        None => println!("it does not say whether we are trusted"),
    }
    Ok(())
}
