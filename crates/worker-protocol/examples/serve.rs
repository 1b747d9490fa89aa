//! Serves one text file as a read-only store: `serve SOCKET FILE`, then
//! `nix path-info --store unix://SOCKET --all`.

use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use tokio::net::{UnixListener, UnixStream};
use worker_protocol::operation::{
    IsValidPath, NarFromPath, QueryAllValidPaths, QueryPathInfo, QueryValidPaths, SetOptions,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::wire::Encoder;
use worker_protocol::{Error, NarHash, PathInfo, RemoteError, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, file] = &arguments[..] else {
        return Err("usage: serve SOCKET FILE".into());
    };
    let mut nar = Vec::new();
    let mut encoder = Encoder::new(&mut nar);
    encoder
        .text("nix-archive-1")
        .text("(")
        .text("type")
        .text("regular");
    encoder
        .text("contents")
        .bytes(&std::fs::read(file)?)
        .text(")");
    let hash = HashAlgorithm::Sha256.hash(&nar);
    let address = ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash,
    };
    let path = StoreDir::NIX.make_fixed_output_path("file", &address)?;
    println!("{}", StoreDir::NIX.print(&path));
    let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64)
        .with_registration_time(1)
        .with_content_address(address);
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        if let Err(error) = serve(stream, &path, &info, &nar).await {
            eprintln!("failed to {error}");
        }
    }
}

async fn serve(
    stream: UnixStream,
    path: &StorePath,
    info: &PathInfo,
    nar: &[u8],
) -> Result<(), Error> {
    let (reader, writer) = stream.into_split();
    let mut server = Server::new(reader, writer, Options::nix(StoreDir::NIX, "0.1"));
    while let Some(request) = server.next_request().await? {
        match request {
            Request::SetOptions(_) => server.answer::<SetOptions>(&()).await?,
            Request::IsValidPath(ask) => server.answer::<IsValidPath>(&(ask.path == *path)).await?,
            Request::QueryAllValidPaths(_) => {
                server
                    .answer::<QueryAllValidPaths>(&[path.clone()].into())
                    .await?;
            }
            Request::QueryValidPaths(ask) => {
                let valid = ask
                    .paths
                    .into_iter()
                    .filter(|asked| asked == path)
                    .collect();
                server.answer::<QueryValidPaths>(&valid).await?;
            }
            Request::QueryPathInfo(ask) => {
                let known = (ask.path == *path).then(|| info.clone());
                server.answer::<QueryPathInfo>(&known).await?;
            }
            Request::NarFromPath(ask) if ask.path == *path => {
                server.answer::<NarFromPath>(&()).await?;
                server.raw(nar).await?;
            }
            other => {
                let message = format!("this store only has {path}, and no {}", other.name());
                server.fail(RemoteError::new(message)).await?;
            }
        }
    }
    Ok(())
}
