# One derivation of every kind that `nix` 2.8 can instantiate.
let
  base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  make = attributes: derivation (base // attributes);
  notes = builtins.toFile "notes.txt" "some\tnotes\n";
  digest = algorithm: builtins.hashString algorithm "contents";
in rec {
  plain = make { name = "plain"; args = [ "-c" "echo > $out" ]; };
  many = make { name = "many"; outputs = [ "out" "dev" "a" ]; args = [ "-c" "echo > $out > $dev > $a" ]; };
  values = make {
    name = "values+1.0_x?=-y"; inherit notes; input = plain; list = [ "x" plain.outPath many.dev ]; number = 1; yes = true; no = false; nothing = null;
    escapes = "tab\tnewline\nreturn\rquote\"backslash\\ dollar$ \${x}"; utf8 = "Grüße ☃"; empty = "";
    args = [ "" "\n" "\\" "-c" "cat ${notes}" ];
  };
  flat = make { name = "flat.tar.gz"; outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = digest "sha256"; };
  flat512 = make { name = "flat512"; outputHashMode = "flat"; outputHashAlgo = "sha512"; outputHash = digest "sha512"; impureEnvVars = [ "http_proxy" "https_proxy" ]; };
  flatMd5 = make { name = "flat-md5"; outputHashAlgo = "md5"; outputHash = digest "md5"; };
  recursive = make { name = "recursive"; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = digest "sha256"; fetcher = plain; };
  recursiveOther = make { name = "recursive"; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = digest "sha256"; fetcher = many; };
  recursiveSha1 = make { name = "recursive-sha1"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; outputHash = digest "sha1"; };
  fetch = make { name = "fetched"; builder = "builtin:fetchurl"; system = "builtin"; url = "https://localhost/x"; outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = digest "sha256"; preferLocalBuild = true; };
  # Two inputs with the same hash modulo.
  usesFixed = make { name = "uses-fixed"; inputs = [ flat recursive recursiveOther flatMd5 ]; };
  usesMany = make { name = "uses-many"; a = many.a; dev = many.dev; b = usesFixed; };
  demanding = make { name = "demanding"; requiredSystemFeatures = [ "kvm" "big-parallel" ]; allowSubstitutes = false; preferLocalBuild = true; passAsFile = [ "script" ]; script = "x"; };
  structured = make {
    name = "structured"; __structuredAttrs = true; requiredSystemFeatures = [ "kvm" ]; allowSubstitutes = false; nested = { b = [ 1 2.5 null true "\"" ]; a = plain; };
    outputs = [ "out" "lib" ]; large = 9007199254740993;
  };
  closure = make { name = "closure"; graph = [ "graph" usesMany ]; whole = usesFixed.drvPath; };
  text = make { name = "discarded"; file = builtins.unsafeDiscardOutputDependency plain.drvPath; };
  floating = make { name = "floating"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputs = [ "out" "bin" ]; };
  floatingFlat = make { name = "floating-flat"; __contentAddressed = true; outputHashMode = "flat"; outputHashAlgo = "sha1"; };
  deferred = make { name = "deferred"; input = floating.bin; other = plain; };
  moreDeferred = make { name = "more-deferred"; input = deferred; };
  impure = make { name = "impure"; __impure = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  usesImpure = make { name = "uses-impure"; __impure = true; input = impure; };
  fixedOfImpure = make { name = "fixed-of-impure"; input = impure; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = digest "sha256"; };
  usesFixedOfImpure = make { name = "uses-fixed-of-impure"; input = fixedOfImpure; };
}
