//! Every input that fuzzing kept, through the same oracles.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;
use worker_protocol::testing;

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
    worker_serve: serve_session;
    worker_export: export_identity;
    worker_conversation: conversation;
}
