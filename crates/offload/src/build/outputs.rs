//! The outputs of a build: which are wanted, what they must be, bringing them in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use store_path::{ContentAddress, StoreDir, StorePath, output_path_name};
use worker_protocol::{BuildResult, PathInfo, Realisation, ValidPathInfo};

use super::{Order, Wish};
use crate::copy;
use crate::failure::Failure;
use crate::job::{Content, Job, JobOutput};
use crate::local::{LocalStore, NixStore, PathLocks};
use crate::log::{Copying, Level, Log};
use crate::remote::{ArchiveClaim, InfoClaim, Remote};

/// An output whose path is known by now.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    name: String,
    pub(crate) path: StorePath,
    content: Content,
}

/// Outputs that were asked for. A daemon answers in order, so they may not exist yet: should the
/// build fail then these replies are never read.
#[derive(Default)]
pub(crate) struct Requests {
    /// All outputs of the build.
    pub(crate) all: Vec<Output>,
    /// What was asked, in order.
    pub(crate) asked: Vec<Asked>,
    /// Of those that nobody could have locked before: their paths are known now.
    pub(super) locks: PathLocks,
}

/// What was asked of one output.
pub(crate) struct Asked {
    pub(crate) output: Output,
    pub(crate) info: InfoClaim,
    pub(crate) archive: Option<ArchiveClaim>,
}

/// Asks for the wanted outputs. Where their paths follow from their contents, `result` has them.
pub(super) async fn request(
    remote: &mut Remote,
    order: &Order<'_>,
    result: Option<&BuildResult>,
    log: &mut Log,
) -> Result<Requests, Failure> {
    let &Order { store, job, wish } = order;
    let all = job.outputs.iter();
    // A floating output that is not wanted may not have been built, and has no path then.
    let all: Vec<_> = all.filter_map(|output| located(output, result)).collect();
    let is_wanted = |output: &&Output| job.wanted.contains(&output.name);
    let wanted = all.iter().filter(is_wanted);
    let locks = match wish {
        Wish::Archives => lock(store, &all, log).await?,
        Wish::Infos => PathLocks::default(),
    };
    let asked = match wish {
        Wish::Archives => ask(remote, missing(store, wanted)?, true).await?,
        Wish::Infos => {
            let wanted: Vec<_> = wanted.cloned().collect();
            // The archive of the only one is wanted next. Of several, nobody knows which first.
            let archive = wanted.len() == 1;
            ask(remote, wanted, archive).await?
        }
    };
    Ok(Requests { all, asked, locks })
}

/// Locks the floating outputs, all at once: which of them are brought in is known later. The daemon
/// has locked all others.
async fn lock(store: &LocalStore, outputs: &[Output], log: &mut Log) -> Result<PathLocks, Failure> {
    let is_floating = |output: &&Output| matches!(output.content, Content::Floating { .. });
    let floating = outputs.iter().filter(is_floating);
    let paths = floating.map(|output| output.path.clone()).collect();
    let waiting = |path: &Path| {
        let message = format!("offload: waiting for the lock on {}", path.display());
        log.daemon.message(Level::Info, &message);
    };
    Ok(store.lock_paths(&paths, waiting).await?)
}

fn located(output: &JobOutput, result: Option<&BuildResult>) -> Option<Output> {
    let made = || Some(realised(result?, &output.name)?.out_path.clone());
    Some(Output {
        name: output.name.clone(),
        path: output.path.clone().or_else(made)?,
        content: output.content.clone(),
    })
}

/// What became of an output, by its name: the part of its identity that needs no computing.
fn realised<'a>(result: &'a BuildResult, output: &str) -> Option<&'a Realisation> {
    let mut made = result.built_outputs.iter();
    made.find(|(id, _)| id.output == output)
        .map(|(_, made)| made)
}

fn missing<'a>(
    store: &LocalStore,
    outputs: impl Iterator<Item = &'a Output>,
) -> Result<Vec<Output>, Failure> {
    let outputs: Vec<_> = outputs.cloned().collect();
    let paths = outputs.iter().map(|output| output.path.clone()).collect();
    let valid = store.valid(&paths)?;
    let missing = outputs
        .into_iter()
        .filter(|output| !valid.contains(&output.path));
    Ok(missing.collect())
}

async fn ask(
    remote: &mut Remote,
    outputs: Vec<Output>,
    archives: bool,
) -> Result<Vec<Asked>, Failure> {
    let mut asked = Vec::with_capacity(outputs.len());
    for output in outputs {
        let info = remote.queue_info(output.path.clone()).await?;
        let archive = match archives {
            true => Some(remote.queue_archive(output.path.clone()).await?),
            false => None,
        };
        asked.push(Asked {
            output,
            info,
            archive,
        });
    }
    Ok(asked)
}

/// Receives the outputs that were asked for, and those others of the build that they refer to and
/// that are not valid here: without them they could not be registered.
pub(super) async fn receive(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    requests: Requests,
    log: &mut Log,
) -> Result<Vec<ValidPathInfo>, Failure> {
    let uri = remote.uri().to_owned();
    let count = requests.asked.len() as u64;
    let mut copying = log.daemon.start_copying(count, 0, &uri, "local");
    let received = receive_all(remote, store, job, requests, &mut copying, log).await;
    log.daemon.stop_copying(copying);
    received
}

async fn receive_all(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    requests: Requests,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<Vec<ValidPathInfo>, Failure> {
    let Requests { all, mut asked, .. } = requests;
    let mut received = BTreeMap::new();
    loop {
        let mut referred = BTreeSet::new();
        for Asked {
            output,
            info,
            archive,
        } in asked
        {
            let info = remote.output_info(info, log).await?;
            let promised = promise(store.local.store_dir(), job, &all, &output, info)?;
            let address = expected(&output, &promised.info);
            let archive = match archive {
                Some(archive) => archive,
                None => remote.queue_archive(output.path.clone()).await?,
            };
            let valid =
                copy::receive(remote, store, archive, promised, address, copying, log).await?;
            referred.extend(valid.info.references.iter().cloned());
            received.insert(valid.path.clone(), valid);
        }
        let siblings = all.iter().filter(|output| {
            referred.contains(&output.path) && !received.contains_key(&output.path)
        });
        let siblings = missing(&store.local, siblings)?;
        if siblings.is_empty() {
            return Ok(received.into_values().collect());
        }
        asked = ask(remote, siblings, true).await?;
    }
}

/// What a machine says of an output, if that can be: the row that will be registered is the
/// machine's, but made here and now, of this derivation.
pub(crate) fn promise(
    store_dir: &StoreDir,
    job: &Job,
    all: &[Output],
    output: &Output,
    info: Option<PathInfo>,
) -> Result<ValidPathInfo, Failure> {
    let info = info.ok_or_else(|| Failure::MissingOutput(store_dir.print(&output.path)))?;
    let is_output = |path: &StorePath| all.iter().any(|output| output.path == *path);
    for reference in &info.references {
        if !job.inputs.contains(reference) && !is_output(reference) {
            return Err(Failure::Reference {
                output: store_dir.print(&output.path),
                reference: store_dir.print(reference),
            });
        }
    }
    // Its hash would be taken of the content without what it says of itself, which could then be anything. Nix
    // makes no such output either, since 2.4.
    if matches!(output.content, Content::Fixed(_)) && info.references.contains(&output.path) {
        return Err(Failure::FixedReference(store_dir.print(&output.path)));
    }
    check_address(store_dir, job, output, &info)?;
    // Only what is checked when the content comes.
    let content_address = expected(output, &info);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let deriver = info.deriver.clone().unwrap_or_else(|| job.path.clone());
    let info = info
        .with_registration_time(now.map_or(0, |since| since.as_secs()))
        .with_deriver(deriver)
        .with_ultimate(false)
        .with_content_address(content_address);
    let path = output.path.clone();
    Ok(ValidPathInfo { path, info })
}

/// The path of a floating output must follow from the content address that the machine tells, and
/// that be of the kind that the derivation asks for. Whether the content has that address is seen
/// when it comes.
fn check_address(
    store_dir: &StoreDir,
    job: &Job,
    output: &Output,
    info: &PathInfo,
) -> Result<(), Failure> {
    let Content::Floating {
        method, algorithm, ..
    } = &output.content
    else {
        return Ok(());
    };
    let derivation = job.path.name().trim_end_matches(".drv");
    let name = output_path_name(derivation, &output.name);
    let of_kind = info
        .content_address
        .as_ref()
        .filter(|address| address.method == *method && address.hash.algorithm() == *algorithm);
    let others = info.references.iter().filter(|path| **path != output.path);
    let refers_to_itself = info.references.contains(&output.path);
    let path = of_kind.and_then(|address| {
        let others = others.map(StorePath::as_path_ref);
        store_dir
            .make_content_addressed_path(&name, address, others, refers_to_itself)
            .ok()
    });
    if path.as_ref() == Some(&output.path) {
        return Ok(());
    }
    Err(Failure::Address {
        output: store_dir.print(&output.path),
        address: match &info.content_address {
            Some(address) => address.to_string(),
            None => "none".to_owned(),
        },
    })
}

/// The content address that the output's content must have.
pub(crate) fn expected(output: &Output, promised: &PathInfo) -> Option<ContentAddress> {
    match &output.content {
        Content::Any => None,
        Content::Fixed(address) => Some(*address),
        Content::Floating { .. } => promised.content_address,
    }
}

/// What is to be known of floating outputs: which path each one became.
pub(super) fn realisations(
    store_dir: &StoreDir,
    job: &Job,
    result: &BuildResult,
) -> Result<Vec<Realisation>, Failure> {
    let floating = job
        .outputs
        .iter()
        .filter_map(|output| match &output.content {
            Content::Floating { id, .. } => Some((output, id)),
            _ => None,
        });
    floating
        .filter(|(output, _)| job.wanted.contains(&output.name))
        .map(|(output, id)| {
            let made = realised(result, &output.name).cloned();
            let made = made.ok_or_else(|| Failure::MissingOutput(output.name.clone()))?;
            if id.as_ref().is_some_and(|id| made.id != *id) {
                return Err(Failure::Realisation {
                    path: store_dir.print(&job.path),
                    output: output.name.clone(),
                });
            }
            Ok(made)
        })
        .collect()
}
