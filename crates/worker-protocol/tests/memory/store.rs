//! A store in memory, served by the server half.

use std::collections::BTreeMap;

use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::operation::{
    AddMultipleToStore, AddTempRoot, AddToStoreNar, BuildDerivation, BuildPaths,
    BuildPathsWithResults, EnsurePath, IsValidPath, Missing, NarFromPath, QueryAllValidPaths,
    QueryMissing, QueryPathInfo, QuerySubstitutablePaths, QueryValidPaths, SetOptions,
};
use worker_protocol::server::Server;
use worker_protocol::wire::Encoder;
use worker_protocol::{
    BuildResult, BuildStatus, Done, Error, Log, NarHash, PathInfo, RemoteError, Request,
};

/// Paths with what is known of them and their archives.
pub(crate) type Paths = BTreeMap<StorePath, (PathInfo, Vec<u8>)>;

/// Serves `store` to one client until it hangs up. Every build ends with `result` and tells `log`; a path called `refused`
/// cannot be added.
#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
pub(crate) async fn serve<R, W>(
    server: &mut Server<R, W>,
    store: &mut Paths,
    log: &[Log],
    result: &BuildResult,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Some(request) = server.next_request().await? {
        match request {
            Request::SetOptions(_) => server.answer::<SetOptions>(&()).await?,
            Request::IsValidPath(IsValidPath { path }) => {
                server
                    .answer::<IsValidPath>(&store.contains_key(&path))
                    .await?;
            }
            Request::QueryValidPaths(query) => {
                let valid = query
                    .paths
                    .into_iter()
                    .filter(|path| store.contains_key(path));
                server.answer::<QueryValidPaths>(&valid.collect()).await?;
            }
            Request::QueryPathInfo(QueryPathInfo { path }) => {
                let info = store.get(&path).map(|(info, _)| info.clone());
                server.answer::<QueryPathInfo>(&info).await?;
            }
            Request::AddTempRoot(_) => server.answer::<AddTempRoot>(&Done).await?,
            Request::QuerySubstitutablePaths(_) => {
                server.answer::<QuerySubstitutablePaths>(&[].into()).await?;
            }
            Request::BuildPaths(_) => server.answer::<BuildPaths>(&Done).await?,
            Request::BuildPathsWithResults(BuildPathsWithResults { targets, .. }) => {
                let there = BuildResult::new(BuildStatus::AlreadyValid);
                let results = targets.into_iter().map(|target| (target, there.clone()));
                server
                    .answer::<BuildPathsWithResults>(&results.collect())
                    .await?;
            }
            Request::EnsurePath(_) => server.answer::<EnsurePath>(&Done).await?,
            Request::QueryMissing(_) => {
                server.answer::<QueryMissing>(&Missing::default()).await?;
            }
            Request::QueryAllValidPaths(_) => {
                let all = store.keys().cloned().collect();
                server.answer::<QueryAllValidPaths>(&all).await?;
            }
            Request::NarFromPath(NarFromPath { path }) => match store.get(&path) {
                Some((_, nar)) => {
                    server.answer::<NarFromPath>(&()).await?;
                    server.raw(nar).await?;
                }
                None => server.fail(RemoteError::new("no such path")).await?,
            },
            Request::AddToStoreNar(AddToStoreNar { path, .. }) => {
                server.log(Log::Next("adding\n".into())).await?;
                if path.path.name() == "refused" {
                    server.fail(RemoteError::new("refused")).await?;
                    continue;
                }
                let nar = read_archive(server).await?;
                assert_eq!(nar.len() as u64, path.info.nar_size);
                store.insert(path.path, (path.info, nar));
                server.answer::<AddToStoreNar>(&()).await?;
            }
            Request::AddMultipleToStore(_) => {
                while let Some(path) = server.next_path().await? {
                    let nar = read_archive(server).await?;
                    store.insert(path.path, (path.info, nar));
                }
                server.answer::<AddMultipleToStore>(&()).await?;
            }
            Request::BuildDerivation(build) => {
                for message in log {
                    server.log(message.clone()).await?;
                }
                if result.status.is_success() {
                    let store_dir = server.context().store_dir.clone();
                    for output in build.derivation.outputs.values() {
                        let path = output
                            .path
                            .to_str()
                            .and_then(|text| store_dir.parse(text).ok());
                        let path = path.expect("outputs have paths");
                        store.insert(path, built());
                    }
                }
                server.answer::<BuildDerivation>(result).await?;
            }
            other => {
                server
                    .fail(RemoteError::new(format!("no {}", other.name())))
                    .await?;
            }
        }
    }
    Ok(())
}

async fn read_archive<R, W>(server: &mut Server<R, W>) -> Result<Vec<u8>, Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut nar = Vec::new();
    loop {
        let chunk = server.upload_chunk().await?;
        if chunk.is_empty() {
            return Ok(nar);
        }
        let count = chunk.len().min(50_000);
        nar.extend_from_slice(&chunk[..count]);
        server.consume_upload(count);
    }
}

/// What every build gives: a file.
fn built() -> (PathInfo, Vec<u8>) {
    let mut nar = Vec::new();
    let mut encoder = Encoder::new(&mut nar);
    encoder
        .text("nix-archive-1")
        .text("(")
        .text("type")
        .text("regular");
    encoder.text("contents").text("built elsewhere").text(")");
    let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64)
        .with_registration_time(1)
        .with_ultimate(true);
    (info, nar)
}
