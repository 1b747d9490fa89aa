//! Store directories, store paths, nix-base32 and the hashes that name things in a Nix or Guix store.
