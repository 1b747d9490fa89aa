//! Copies a path and everything it refers to from one daemon to another, in one upload:
//! `copy FROM-SOCKET TO-SOCKET PATH`.
//!
//! No archive is held in memory. The receiving daemon must trust us, or the paths must be signed.

use std::collections::{BTreeMap, BTreeSet};

use store_path::{StoreDir, StorePath};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{
    AddMultipleToStore, AddToStoreNar, NarFromPath, QueryPathInfo, QueryValidPaths,
};
use worker_protocol::{Error, Log, PathInfo, ValidPathInfo, Version};

type Daemon = Client<OwnedReadHalf, OwnedWriteHalf>;
type Infos = BTreeMap<StorePath, PathInfo>;
type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, path] = &arguments[..] else {
        return Err("usage: copy FROM-SOCKET TO-SOCKET PATH".into());
    };
    let (paths, copied) = copy(from, to, StoreDir::NIX.parse(path)?).await?;
    println!("{paths} paths, {copied} of them copied");
    Ok(())
}

/// Returns how many paths there are, and how many were missing.
pub(crate) async fn copy(from: &str, to: &str, path: StorePath) -> Result<(usize, usize), Failure> {
    let (mut from, mut to) = (connect(from).await?, connect(to).await?);
    let closure = closure(&mut from, path).await?;
    let query = QueryValidPaths {
        paths: closure.keys().cloned().collect(),
        substitute: false,
    };
    let valid = to.call(&query, &mut print).await?;
    let missing = in_order(&closure, &valid);
    let together = Version::has_add_multiple_to_store;
    match to.version().is_some_and(together) {
        true => send_together(&mut from, &mut to, &missing).await?,
        false => send_one_by_one(&mut from, &mut to, &missing).await?,
    }
    Ok((closure.len(), missing.len()))
}

fn print(log: Log) {
    eprintln!("{log:?}");
}

async fn send_together(
    from: &mut Daemon,
    to: &mut Daemon,
    paths: &[ValidPathInfo],
) -> Result<(), Error> {
    let add = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let mut upload = to.upload_multiple(&add, paths.len() as u64).await?;
    for path in paths {
        upload.path(path)?;
        fetch(from, path, async |chunk| {
            upload.write(chunk, &mut print).await
        })
        .await?;
    }
    let added = upload.finish(&mut print).await?;
    to.reply(added, &mut print).await
}

/// For daemons from before 1.32.
async fn send_one_by_one(
    from: &mut Daemon,
    to: &mut Daemon,
    paths: &[ValidPathInfo],
) -> Result<(), Error> {
    for path in paths {
        let add = AddToStoreNar {
            path: path.clone(),
            repair: false,
            dont_check_signatures: true,
        };
        let mut upload = to.upload(&add).await?;
        fetch(from, path, async |chunk| {
            upload.write(chunk, &mut print).await
        })
        .await?;
        let added = upload.finish(&mut print).await?;
        to.reply(added, &mut print).await?;
    }
    Ok(())
}

/// The archive of `path`, handed on as it comes.
async fn fetch(
    from: &mut Daemon,
    path: &ValidPathInfo,
    mut take: impl AsyncFnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let request = NarFromPath {
        path: path.path.clone(),
    };
    from.call(&request, &mut print).await?;
    // The store knows how long its archive is. Without that, a decoder of archives would find its end.
    let mut left = path.info.nar_size;
    while left > 0 {
        let chunk = from.raw_chunk().await?;
        let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        take(&chunk[..count]).await?;
        from.consume(count);
        left -= count as u64;
    }
    Ok(())
}

async fn connect(socket: &str) -> std::io::Result<Daemon> {
    let (reader, writer) = UnixStream::connect(socket).await?.into_split();
    Ok(Client::new(reader, writer, Options::nix(StoreDir::NIX)))
}

/// Asks for one generation of references at a time: a round trip each.
async fn closure(daemon: &mut Daemon, root: StorePath) -> Result<Infos, Failure> {
    let mut known = Infos::new();
    let mut wanted = BTreeSet::from([root]);
    while !wanted.is_empty() {
        let mut tickets = Vec::new();
        for path in std::mem::take(&mut wanted) {
            tickets.push((
                daemon.queue(&QueryPathInfo { path: path.clone() }).await?,
                path,
            ));
        }
        for (ticket, path) in tickets {
            let info = daemon.reply(ticket, &mut |_| {}).await?;
            let info = info.ok_or_else(|| format!("{path} is not valid"))?;
            wanted.extend(info.references.iter().cloned());
            known.insert(path, info);
        }
        wanted.retain(|path| !known.contains_key(path));
    }
    Ok(known)
}

/// What is missing, references before what refers to them.
fn in_order(closure: &Infos, valid: &BTreeSet<StorePath>) -> Vec<ValidPathInfo> {
    fn visit(
        path: &StorePath,
        closure: &Infos,
        done: &mut BTreeSet<StorePath>,
        out: &mut Vec<ValidPathInfo>,
    ) {
        if done.insert(path.clone()) {
            for reference in &closure[path].references {
                visit(reference, closure, done, out);
            }
            out.push(ValidPathInfo {
                path: path.clone(),
                info: closure[path].clone(),
            });
        }
    }
    let (mut done, mut out) = (valid.clone(), Vec::new());
    for path in closure.keys() {
        visit(path, closure, &mut done, &mut out);
    }
    out
}
