//! Every input that fuzzing kept, through the same oracles.

use std::path::Path;

use worker_protocol::testing;

fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()));
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path);
        oracle(&data.unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display())));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

macro_rules! targets {
    ($($target:ident: $oracle:ident;)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), testing::$oracle);
        })*
    };
}

targets! {
    worker_wire: wire_identity;
    worker_requests: requests;
    worker_client: client_session;
    worker_server: server_session;
    worker_export: export_identity;
    worker_conversation: conversation;
}
