//! Remote builds for Nix and Guix store daemons: choose a machine, copy, build, bring back.
