# Hashes and methods that came later, for `nix` 2.31 and later with the features blake3-hashes and git-hashing.
let
  base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  make = attributes: derivation (base // attributes);
  blake3 = make { name = "blake3"; outputHashMode = "flat"; outputHashAlgo = "blake3"; outputHash = builtins.hashString "blake3" "x"; };
  blake3Nar = make { name = "blake3-nar"; outputHashMode = "nar"; outputHashAlgo = "blake3"; outputHash = builtins.hashString "blake3" "x"; };
  gitSha1 = make { name = "git-sha1"; outputHashMode = "git"; outputHashAlgo = "sha1"; outputHash = builtins.hashString "sha1" "x"; };
  gitSha256 = make { name = "git-sha256"; outputHashMode = "git"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "x"; };
in {
  inherit blake3 blake3Nar gitSha1 gitSha256;
  uses = make { name = "uses-hashes"; inputs = [ blake3 blake3Nar gitSha1 gitSha256 ]; };
  floatingBlake3 = make { name = "floating-blake3"; __contentAddressed = true; outputHashMode = "nar"; outputHashAlgo = "blake3"; };
  floatingGit = make { name = "floating-git"; __contentAddressed = true; outputHashMode = "git"; outputHashAlgo = "sha1"; };
}
