# Derivations that make derivations, for `nix` 2.18 and later with the feature dynamic-derivations.
let
  base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  make = attributes: derivation (base // attributes);
  plain = make { name = "plain"; args = [ "-c" "echo > $out" ]; };
  producing = make { name = "producing.drv"; __contentAddressed = true; outputHashMode = "text"; outputHashAlgo = "sha256"; args = [ "-c" "cat > $out" ]; };
  fixedText = make { name = "fixed-text.drv"; outputHashMode = "text"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "x"; };
in {
  inherit producing fixedText;
  wrapper = make { name = "wrapper"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; input = builtins.outputOf producing.outPath "out"; other = plain; args = [ producing.outPath ]; };
  twice = make { name = "twice"; input = builtins.outputOf (builtins.outputOf producing.outPath "a") "b"; more = builtins.outputOf producing.outPath "lib"; };
}
