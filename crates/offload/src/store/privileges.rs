//! What a client may ask for whom this host's daemon would not trust: it takes our word for everything,
//! so that we have to keep such a client from it.

use worker_protocol::{BuildMode, Request};

/// The request as anyone may make it: signatures are checked, nothing is repaired.
///
/// # Errors
/// The name of a request that only trusted users may make.
pub(super) fn without_privileges(request: Request) -> Result<Request, &'static str> {
    match request {
        // Its outputs would be whatever the client says that they are made of.
        Request::BuildDerivation(_)
        | Request::AddSignatures(_)
        | Request::AddPermRoot(_)
        | Request::RegisterDrvOutput(_) => Err(request.name()),
        Request::BuildPaths(ref asked) if asked.mode != BuildMode::Normal => Err(request.name()),
        Request::BuildPathsWithResults(ref asked) if asked.mode != BuildMode::Normal => {
            Err(request.name())
        }
        Request::AddToStore(mut asked) => {
            asked.repair = false;
            Ok(Request::AddToStore(asked))
        }
        Request::AddToStoreNar(mut asked) => {
            (asked.repair, asked.dont_check_signatures) = (false, false);
            Ok(Request::AddToStoreNar(asked))
        }
        Request::AddMultipleToStore(mut asked) => {
            (asked.repair, asked.dont_check_signatures) = (false, false);
            Ok(Request::AddMultipleToStore(asked))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::operation::{AddMultipleToStore, AddPermRoot, BuildPaths, SyncWithGC};

    use super::*;

    #[test]
    fn signatures_are_checked_and_what_needs_trust_is_refused() {
        let add = AddMultipleToStore {
            repair: true,
            dont_check_signatures: true,
        };
        let Ok(Request::AddMultipleToStore(add)) = without_privileges(add.into()) else {
            panic!("anyone may add what is signed");
        };
        assert!(!add.repair && !add.dont_check_signatures);
        let build = |mode| BuildPaths {
            targets: Vec::new(),
            mode,
        };
        assert!(without_privileges(build(BuildMode::Normal).into()).is_ok());
        assert!(without_privileges(build(BuildMode::Repair).into()).is_err());
        assert!(without_privileges(SyncWithGC {}.into()).is_ok());
        let root = AddPermRoot {
            path: store_path::StorePath::from_parts([1; 20], "x").unwrap(),
            link: "/root".into(),
        };
        assert_eq!(without_privileges(root.into()), Err("AddPermRoot"));
    }
}
