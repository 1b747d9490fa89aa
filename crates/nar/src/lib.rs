//! Nix archives: a strict incremental decoder and encoder, dump from and restore to a file system.
