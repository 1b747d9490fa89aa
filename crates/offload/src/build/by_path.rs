//! Building as a user whom the machine's daemon does not trust: such a user may add what is
//! content-addressed (as `.drv` files and sources are) or signed by a key that the machine trusts,
//! and may ask for the outputs of a `.drv` file that is there.

use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;

use super::{Made, Order, judge, outputs};
use crate::copy;
use crate::failure::Failure;
use crate::local::LocalStore;
use crate::log::{Level, Log};
use crate::remote::{Question, Remote};

/// Sends the `.drv` file with its closure, those of the `missing` inputs that may be sent, and
/// builds. What may not be sent, the machine substitutes or builds itself. `with_signed`: whether
/// what is signed may be; whether the machine trusts the key is seen only then.
pub(super) async fn make(
    remote: &mut Remote,
    order: &Order<'_>,
    missing: &BTreeSet<StorePath>,
    with_signed: bool,
    log: &mut Log,
) -> Result<Made, Failure> {
    let &Order { store, job, .. } = order;
    let question = Question {
        inputs: store.closure([&job.path])?,
        ..Question::default()
    };
    let mut needed = remote.missing(&question, log).await?;
    let mut refused = BTreeSet::new();
    for path in missing {
        if !is_welcome(store, path, with_signed)? {
            refused.insert(path.clone());
        }
    }
    refuse_referrers(store, missing, &mut refused)?;
    needed.extend(missing.difference(&refused).cloned());
    if !refused.is_empty() {
        let refused = refused.len();
        let message = format!(
            "offload: {} does not trust user {}: it has to substitute or build {refused} inputs \
             itself, which have no signature that it believes (list the user in its trusted-users, \
             or sign them)",
            remote.uri(),
            remote.user(),
        );
        log.daemon.message(Level::Warning, &message);
    }
    let sent = copy::send(remote, store, &needed, log).await?;
    let claim = remote.queue_build_of_path(&job.path, &job.wanted).await?;
    let mut requests = outputs::Requests::default();
    if !job.is_floating() {
        requests = outputs::request(remote, order, None, log).await?;
    }
    copy::confirm(remote, sent, log).await?;
    let result = remote.built(claim, job.options, log).await?;
    judge(&result)?;
    if job.is_floating() {
        requests = outputs::request(remote, order, Some(&result), log).await?;
    }
    Ok(Made {
        result,
        requests,
        sent_inputs: needed.len(),
    })
}

/// Whether a daemon may take `path` from anyone: only the machine knows which signatures count, so
/// any will do here.
/// Adds those of `missing` that refer to what is `refused`, at any remove: the machine takes none of them.
fn refuse_referrers(
    store: &LocalStore,
    missing: &BTreeSet<StorePath>,
    refused: &mut BTreeSet<StorePath>,
) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let mut referrers: BTreeMap<StorePath, Vec<&StorePath>> = BTreeMap::new();
    for path in missing {
        for reference in store.path_info(path)?.references {
            referrers.entry(reference).or_default().push(path);
        }
    }
    let mut left: Vec<_> = refused.iter().cloned().collect();
    while let Some(path) = left.pop() {
        for &referrer in referrers.get(&path).into_iter().flatten() {
            if refused.insert(referrer.clone()) {
                left.push(referrer.clone());
            }
        }
    }
    Ok(())
}

fn is_welcome(store: &LocalStore, path: &StorePath, with_signed: bool) -> Result<bool, Failure> {
    let info = store.path_info(path)?;
    Ok(info.content_address.is_some() || (with_signed && !info.signatures.is_empty()))
}
