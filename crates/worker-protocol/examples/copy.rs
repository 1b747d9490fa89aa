//! Copies a path and everything it refers to from one daemon to another, in one upload:
//! `copy FROM-SOCKET TO-SOCKET PATH`.
//!
//! No archive is held in memory. The receiving daemon must trust us, or the paths must be signed.

use std::collections::{BTreeMap, BTreeSet};

use store_path::{StoreDir, StorePath};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{AddMultipleToStore, NarFromPath, QueryPathInfo, QueryValidPaths};
use worker_protocol::{Log, PathInfo, ValidPathInfo};

type Daemon = Client<OwnedReadHalf, OwnedWriteHalf>;
type Infos = BTreeMap<StorePath, PathInfo>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, path] = &arguments[..] else {
        return Err("usage: copy FROM-SOCKET TO-SOCKET PATH".into());
    };
    let (mut from, mut to) = (connect(from).await?, connect(to).await?);
    let log = &mut |log: Log| eprintln!("{log:?}");

    let closure = closure(&mut from, StoreDir::NIX.parse(path)?).await?;
    let paths = closure.keys().cloned().collect();
    let valid = to
        .call(
            &QueryValidPaths {
                paths,
                substitute: false,
            },
            log,
        )
        .await?;
    let missing = in_order(&closure, &valid);
    println!("{} paths, {} of them missing", closure.len(), missing.len());

    let add = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let mut upload = to.upload_multiple(&add, missing.len() as u64).await?;
    for path in missing {
        let info = closure[&path].clone();
        let mut left = info.nar_size;
        upload.path(&ValidPathInfo {
            path: path.clone(),
            info,
        })?;
        from.call(&NarFromPath { path }, log).await?;
        // The store knows how long its archive is. Without that, a decoder of archives would find its end.
        while left > 0 {
            let chunk = from.raw_chunk().await?;
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            upload.write(&chunk[..count], log).await?;
            from.consume(count);
            left -= count as u64;
        }
    }
    let added = upload.finish(log).await?;
    to.reply(added, log).await?;
    Ok(())
}

async fn connect(socket: &str) -> std::io::Result<Daemon> {
    let (reader, writer) = UnixStream::connect(socket).await?.into_split();
    Ok(Client::new(reader, writer, Options::nix(StoreDir::NIX)))
}

/// Asks for one generation of references at a time: a round trip each.
async fn closure(
    daemon: &mut Daemon,
    root: StorePath,
) -> Result<Infos, Box<dyn std::error::Error>> {
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
fn in_order(closure: &Infos, valid: &BTreeSet<StorePath>) -> Vec<StorePath> {
    fn visit(
        path: &StorePath,
        closure: &Infos,
        done: &mut BTreeSet<StorePath>,
        out: &mut Vec<StorePath>,
    ) {
        if done.insert(path.clone()) {
            for reference in &closure[path].references {
                visit(reference, closure, done, out);
            }
            out.push(path.clone());
        }
    }
    let (mut done, mut out) = (valid.clone(), Vec::new());
    for path in closure.keys() {
        visit(path, closure, &mut done, &mut out);
    }
    out
}
