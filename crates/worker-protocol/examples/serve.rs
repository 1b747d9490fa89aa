//! Serves one file or directory as a read-only store: `serve SOCKET PATH`, then
//! `nix path-info --store unix://SOCKET --all`.

use store_path::{ContentAddress, ContentAddressMethod, StoreDir};
use tokio::net::{UnixListener, UnixStream};
use worker_protocol::operation::*;
use worker_protocol::server::{Options, Server};
use worker_protocol::{Error, NarHash, PathInfo, RemoteError, Request, ValidPathInfo};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("usage: serve SOCKET PATH")?;
    let served = arguments.next().ok_or("usage: serve SOCKET PATH")?;
    let mut nar = Vec::new();
    nar::dump(served, &mut nar)?;
    let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64);
    let (method, hash) = (ContentAddressMethod::Recursive, info.nar_hash.hash());
    let address = ContentAddress { method, hash };
    let path = StoreDir::NIX.make_fixed_output_path("served", &address)?;
    let info = info.with_content_address(address);
    let listener = UnixListener::bind(socket)?;
    println!("{}", StoreDir::NIX.print(&path));
    let held = ValidPathInfo { path, info };
    loop {
        let served = serve(listener.accept().await?.0, &held, &nar).await;
        served.unwrap_or_else(|error| eprintln!("failed to {error}"));
    }
}

async fn serve(stream: UnixStream, held: &ValidPathInfo, nar: &[u8]) -> Result<(), Error> {
    let (reader, writer) = stream.into_split();
    let mut server = Server::new(reader, writer, Options::nix(StoreDir::NIX, "0.1"));
    let all = [held.path.clone()].into();
    let without = |asked: Request| RemoteError::new(format!("it has no {}", asked.name()));
    while let Some(request) = server.next_request().await? {
        match request {
            Request::SetOptions(_) => server.answer::<SetOptions>(&()).await?,
            Request::IsValidPath(ask) => {
                let valid = ask.path == held.path;
                server.answer::<IsValidPath>(&valid).await?;
            }
            Request::QueryAllValidPaths(_) => server.answer::<QueryAllValidPaths>(&all).await?,
            Request::QueryValidPaths(ask) => {
                let valid = &ask.paths & &all;
                server.answer::<QueryValidPaths>(&valid).await?;
            }
            Request::QueryPathInfo(ask) => {
                let known = (ask.path == held.path).then(|| held.info.clone());
                server.answer::<QueryPathInfo>(&known).await?;
            }
            Request::NarFromPath(ask) if ask.path == held.path => {
                server.answer::<NarFromPath>(&()).await?;
                server.raw(nar).await?;
            }
            other => server.fail(without(other)).await?,
        }
    }
    Ok(())
}
