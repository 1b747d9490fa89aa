# A derivation whose input is floating; `nix-build` resolves it before it builds it.
let base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  make = attributes: derivation (base // attributes);
  floating = make { name = "floating"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputs = [ "out" "bin" ]; args = [ "-c" "echo a > $out; echo b > $bin" ]; };
  plain = make { name = "plain"; args = [ "-c" "echo > $out" ]; };
in make { name = "deferred"; outputs = [ "out" "doc" ]; input = floating.bin; other = plain; args = [ "-c" "echo ${floating} ${floating.bin} > $out; echo > $doc" ]; }
