//! The largest lengths that are accepted from a peer, each with its reason.
//!
//! They bound what one message can make a program hold, and are far above what daemons send. Nothing is
//! allocated for a length that was only announced: memory follows the bytes that really came.

/// A whole message: a request without its data, a reply, a log message. It is held until it is complete, so this
/// bounds what a peer makes a session hold, and the values made of it. All paths of a store with four million take
/// 400 MB; archives and other data pass through, and do not count. Sessions' options set it lower.
pub const MESSAGE: usize = 512 << 20;

/// Names: of operations' options, outputs, systems, activities' fields of that kind. Nix allows 211 bytes
/// for a store path's name; options such as `extra-platforms` hold lists.
pub const NAME: usize = 64 << 10;

/// Paths of files: Linux' `PATH_MAX`, and a NUL.
pub const PATH: usize = 4096;

/// A base-16 or base-32 hash with its algorithm in front, a content address, or a signature with the name
/// of its key (or Guix's S-expression, about 450 bytes; RSA keys make it a few KiB).
pub const HASH: usize = 64 << 10;

/// What stands behind an exported archive, references and all: 800,000 paths of 80 bytes. It is held until it is
/// complete.
pub const TRAILER: usize = 64 << 20;

/// A realisation's JSON text.
pub const JSON: usize = 16 << 20;

/// Values of settings, such as a whole `machines` file in `builders`.
pub const SETTING: usize = 16 << 20;

/// One builder argument or environment value of a derivation. The kernel allows 128 KiB, but with
/// structured attributes or `passAsFile` a value never reaches the kernel; ATerm files of tens of MiB exist.
pub const ENVIRONMENT: usize = 64 << 20;

/// The contents of a file that is added as text (Nix sends `.drv` files so before 1.25, Guix always).
pub const CONTENTS: usize = 256 << 20;

/// One message of the log: a line, or an error whose text quotes the tail of a log.
pub const LOG: usize = 16 << 20;

/// Fields of one activity or result. Nix uses at most 4.
pub const FIELDS: usize = 1 << 10;

/// Traces of one error.
pub const TRACES: usize = 64 << 10;

/// Items of any other list or map. All paths of a very large store are a few millions.
pub const ITEMS: usize = 1 << 24;

/// One block that is sent through a tunnel. Daemons ask for 32 KiB (Nix 2.3) or 64 KiB at a time, and
/// write 64 KiB.
pub const TUNNEL: usize = 16 << 20;

/// One frame of framed data. Nix writes 32 KiB, but nothing forbids a client to send its whole buffer:
/// frames are passed on in pieces, never held, so the limit only catches nonsense.
pub const FRAME: u64 = 1 << 40;
