//! The `offload` program: a build hook for store daemons, and a command line for people.
//!
//! The only place that prints, exits and reads the environment.

mod arguments;
mod broker;
mod context;
mod demo;
mod endpoint;
mod environment;
mod explain;
mod guix;
mod guix_hook;
mod guix_offload;
mod hook_process;
mod listen;
mod lists;
mod machines;
mod nix_hook;
mod output;
mod posix_regex;
mod selection;
mod status;
mod store;
mod test;
mod together;

use std::process::ExitCode;

use arguments::{Call, or_failure};

fn main() -> ExitCode {
    match Call::from_process() {
        Call::NixHook => nix_hook::run(),
        Call::GuixHook(arguments) => guix_hook::run(&arguments),
        Call::Guix(arguments) => guix::run(&arguments),
        Call::Endpoint => or_failure(store::Store::stdio().run()),
        Call::Command(command) => command.run(),
    }
}
