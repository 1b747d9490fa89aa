//! What a client may ask for whom this host's daemon would not trust: it takes our word for everything,
//! so that we have to keep such a client from it.

use worker_protocol::{BuildMode, Request};

/// The request as anyone may make it: signatures are checked, nothing is repaired.
///
/// # Errors
/// The name of a request that only trusted users may make.
pub(super) fn without_privileges(request: Request) -> Result<Request, &'static str> {
    match request {
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
            asked.path.info.ultimate = false;
            Ok(Request::AddToStoreNar(asked))
        }
        Request::AddMultipleToStore(mut asked) => {
            (asked.repair, asked.dont_check_signatures) = (false, false);
            Ok(Request::AddMultipleToStore(asked))
        }
        // What this does not name needs trust: what BuildDerivation makes is whatever the client says that it is
        // made of, FindRoots tells an untrusted user less than it tells us, AddBuildLog
        // is for nobody else, and what comes with a later version is not known here.
        Request::SetOptions(_)
        | Request::IsValidPath(_)
        | Request::QueryValidPaths(_)
        | Request::QueryPathInfo(_)
        | Request::NarFromPath(_)
        | Request::HasSubstitutes(_)
        | Request::QueryPathHash(_)
        | Request::QueryReferences(_)
        | Request::QueryReferrers(_)
        | Request::AddTextToStore(_)
        | Request::BuildPaths(_)
        | Request::BuildPathsWithResults(_)
        | Request::EnsurePath(_)
        | Request::AddTempRoot(_)
        | Request::AddIndirectRoot(_)
        | Request::SyncWithGC(_)
        | Request::QueryDeriver(_)
        | Request::QuerySubstitutablePathInfo(_)
        | Request::QuerySubstitutablePathInfos(_)
        | Request::QuerySubstitutablePaths(_)
        | Request::QueryDerivationOutputs(_)
        | Request::QueryDerivationOutputNames(_)
        | Request::QueryDerivationOutputMap(_)
        | Request::QueryAllValidPaths(_)
        | Request::QueryPathFromHashPart(_)
        | Request::QueryValidDerivers(_)
        | Request::QueryMissing(_)
        | Request::QueryRealisation(_) => Ok(request),
        other => Err(other.name()),
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::operation::{
        AddBuildLog, AddMultipleToStore, AddPermRoot, AddToStoreNar, BuildPaths, FindRoots,
        SyncWithGC,
    };

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
        let path = store_path::StorePath::from_parts([1; 20], "x").unwrap();
        let info = worker_protocol::PathInfo::new(worker_protocol::NarHash([1; 32]), 96);
        let add = AddToStoreNar {
            path: worker_protocol::ValidPathInfo {
                path: path.clone(),
                info: info.with_ultimate(true),
            },
            repair: true,
            dont_check_signatures: true,
        };
        let Ok(Request::AddToStoreNar(add)) = without_privileges(add.into()) else {
            panic!("anyone may add what is signed");
        };
        assert!(!add.repair && !add.dont_check_signatures && !add.path.info.ultimate);
        let build = |mode| BuildPaths {
            targets: Vec::new(),
            mode,
        };
        assert!(without_privileges(build(BuildMode::Normal).into()).is_ok());
        assert!(without_privileges(build(BuildMode::Repair).into()).is_err());
        assert!(without_privileges(SyncWithGC {}.into()).is_ok());
        assert_eq!(without_privileges(FindRoots {}.into()), Err("FindRoots"));
        let log = AddBuildLog { path: path.clone() };
        assert_eq!(without_privileges(log.into()), Err("AddBuildLog"));
        let root = AddPermRoot {
            path,
            link: "/root".into(),
        };
        assert_eq!(without_privileges(root.into()), Err("AddPermRoot"));
    }
}
