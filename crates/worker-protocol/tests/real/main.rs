//! Conversations with real daemons and real clients.
//!
//! This machine's nix-daemon is used if there is one, and every nix-daemon and guix-daemon in the root file
//! systems that `OFFLOAD_ROOTS` holds. All of it needs root; what is left out is printed.

#[path = "../recorded/conversation.rs"]
mod conversation;
mod copy;
#[path = "../../examples/copy.rs"]
#[expect(
    dead_code,
    reason = "it is a program, and here only what it does is called"
)]
mod copy_example;
mod cut_uploads;
mod daemon;
mod export;
mod guix;
mod guix_builds;
mod guix_client;
mod nix;
mod nix_client;
mod nix_operations;
mod pipelining;
mod record;
mod same_replies;
mod serve;
#[path = "../recorded/serve_conversation.rs"]
mod serve_conversation;
#[path = "../memory/store.rs"]
mod store;
