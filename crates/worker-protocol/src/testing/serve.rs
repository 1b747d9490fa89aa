use store_path::StoreDir;

use crate::serve::{
    BuildDerivation, BuildPaths, BuildSettings, Command, DumpStorePath, Progress, QueryClosure,
    QueryPathInfos, QueryValidPaths, ServeVersion, Session,
};
use crate::{BasicDerivation, DerivedPath, Error, Misuse};

/// A client that hears arbitrary bytes from `nix-store --serve`: it never panics, never waits for nothing, and
/// gives every request an end. The first two bytes of `data` choose the assumed version and the size of the pieces.
///
/// # Panics
/// If that does not hold.
pub fn serve_session(data: &[u8]) {
    let [assume, pieces, bytes @ ..] = data else {
        return;
    };
    let assume = (assume & 1 == 1).then_some(ServeVersion(assume >> 1));
    let mut session = Session::new(StoreDir::NIX, assume);
    let mut pieces = bytes.chunks(1 + usize::from(*pieces));
    let mut feed = |session: &mut Session| match pieces.next() {
        Some(piece) => session.receive(piece),
        None => session.input_ended(None),
    };
    let path = StoreDir::NIX
        .parse("/nix/store/00000000000000000000000000000000-x")
        .expect("it is a store path");
    let paths = || [path.clone()].into();
    let settings = BuildSettings::default();
    let valid = QueryValidPaths {
        lock: true,
        substitute: false,
        paths: paths(),
    };
    let closure = QueryClosure {
        include_outputs: false,
        paths: paths(),
    };
    let build = BuildDerivation {
        path: path.clone(),
        derivation: BasicDerivation::default(),
        settings: settings.clone(),
    };
    let build_paths = BuildPaths {
        targets: vec![DerivedPath::Opaque(path.clone())],
        settings,
    };
    hear(&mut session, &valid, &mut feed);
    hear(&mut session, &build, &mut feed);
    hear(&mut session, &QueryPathInfos { paths: paths() }, &mut feed);
    hear(&mut session, &build_paths, &mut feed);
    hear(&mut session, &DumpStorePath { path }, &mut feed);
    if session.raw().is_ok_and(|raw| !raw.is_empty()) {
        session.consume_raw(1);
    }
    hear(&mut session, &closure, &mut feed);
}

/// Sends a request and reads its reply to the end.
fn hear<C: Command>(session: &mut Session, command: &C, feed: &mut impl FnMut(&mut Session)) {
    let ticket = match session.queue(command) {
        Ok(ticket) => ticket,
        Err(error) => {
            assert_ne!(error, Misuse::BeforeHandshake.into(), "a reply was read");
            return;
        }
    };
    loop {
        match session.poll_reply(ticket) {
            Ok(Progress::Ready(_)) => return,
            Ok(Progress::NeedBytes(count)) => {
                assert!(count > 0);
                feed(session);
            }
            Err(error) => {
                assert!(!matches!(error, Error::Misused(_)), "it was its turn");
                let again = session.poll_reply(ticket).map(|_| ());
                assert_eq!(again, Err(error), "it had its end");
                return;
            }
        }
    }
}
