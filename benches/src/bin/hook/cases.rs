//! What is measured, and what there is to reach.

use std::error::Error;

use crate::bed::Bed;

/// One row of the issue: builds of one kind, or something else.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    pub(crate) targets: &'static [(Measure, Target)],
}

#[derive(Debug)]
pub(crate) enum Kind {
    Builds(Builds),
    /// The hook alone is asked for a build that no machine takes.
    Reply,
}

/// Builds that are asked for together.
#[derive(Debug)]
pub(crate) struct Builds {
    /// How many there are; what is measured is divided by it.
    pub(crate) count: u32,
    /// Whether they go over the link with a delay.
    pub(crate) far: bool,
    /// Makes what all of them share, once.
    pub(crate) make: fn(&Bed) -> Result<(), Box<dyn Error>>,
    /// The attribute of the expression, and the file or folder that is its input, made new for each run.
    pub(crate) attribute: &'static str,
    pub(crate) input: Option<&'static str>,
    /// Whether what they bring is so large that it is deleted at once. Not where it is many files: for minutes ext4 looks
    /// at each inode that was freed before it takes another, and whoever comes next is ten times slower.
    pub(crate) heavy: bool,
}

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Wall,
    /// Of both hosts.
    Cpu,
    RoundTrips,
    /// Of the hook's own process.
    PeakMemory,
}

/// What there is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// So many times the better one of stock's.
    OfBest(f64),
    /// So many times what stock has by `ssh://`.
    OfSsh(f64),
    /// The endpoint: so many times what stock has by `ssh-ng://`.
    EndpointOfSshNg(f64),
    /// Our hook with a broker: so many times the better one of stock's.
    BrokerOfBest(f64),
    /// So much, in the measure's own unit.
    AtMost(f64),
    /// Nothing; it is told.
    None,
}

use Measure::{Cpu, PeakMemory, RoundTrips, Wall};
use Target::{AtMost, BrokerOfBest, EndpointOfSshNg, OfBest, OfSsh};

/// The expression that all builds are of. `input` is a store path.
pub(crate) const EXPRESSION: &str = r#"{ id, input ? "" }:
let
  numbers = count: builtins.genList toString count;
  build = name: script: attributes: derivation ({
    name = "${name}-${id}"; system = builtins.currentSystem; builder = "/bin/sh"; PATH = "/usr/bin:/bin";
    args = [ "-c" script ];
  } // attributes);
  trivial = name: build name "echo ${name} > $out";
in {
  trivial = trivial "trivial" { };
  chain = builtins.foldl' (before: i: trivial "chain-${i}" { inherit before; }) "" (numbers 20);
  parallel = map (i: trivial "parallel-${i}" { }) (numbers 100);
  inputs = trivial "inputs" { inputs = map (i: builtins.toFile "input-${i}" "${id} ${i}") (numbers 200); };
  input = trivial "input" { input = builtins.storePath input; };
  output = build "output" "head -c 1G /dev/zero > $out" { };
  tree = build "tree" ''
    text=${builtins.concatStringsSep "" (map (_: "0123456789") (numbers 36))}
    mkdir $out; cd $out; d=0
    while [ $d -lt 200 ]; do
      mkdir $d; f=0
      while [ $f -lt 100 ]; do echo $text > $d/$f; f=$((f+1)); done
      d=$((d+1))
    done'' { };
}"#;

/// Where what is an input of 1 GiB, and of 20,000 files, is made.
const LARGE: &str = "/root/large";
const TREE: &str = "/root/tree";

const NOTHING: Builds = Builds {
    count: 1,
    far: false,
    make: |_| Ok(()),
    attribute: "",
    input: None,
    heavy: false,
};

const CHAIN: Builds = Builds {
    count: 20,
    attribute: "chain",
    ..NOTHING
};

pub(crate) const CASES: [Case; 9] = [
    Case {
        name: "chain",
        what: "a chain of 20 trivial builds; per build",
        kind: Kind::Builds(CHAIN),
        targets: &[
            (Wall, OfBest(0.5)),
            (Wall, BrokerOfBest(0.5)),
            (Wall, EndpointOfSshNg(0.6)),
            (Cpu, OfBest(0.5)),
        ],
    },
    Case {
        name: "chain-50ms",
        what: "the same at 50 ms of round trip time",
        kind: Kind::Builds(Builds { far: true, ..CHAIN }),
        targets: &[
            (Wall, OfBest(0.55)),
            (Wall, BrokerOfBest(0.55)),
            (Cpu, Target::None),
            (RoundTrips, AtMost(12.0)),
        ],
    },
    Case {
        name: "parallel",
        what: "100 trivial builds at once on 8 slots",
        kind: Kind::Builds(Builds {
            attribute: "parallel",
            ..NOTHING
        }),
        targets: &[
            (Wall, OfBest(0.5)),
            (Wall, EndpointOfSshNg(0.6)),
            (Cpu, Target::None),
        ],
    },
    Case {
        name: "inputs-50ms",
        what: "a build with 200 small inputs, at 50 ms of round trip time",
        kind: Kind::Builds(Builds {
            far: true,
            attribute: "inputs",
            ..NOTHING
        }),
        targets: &[
            (Wall, OfBest(0.5)),
            (Wall, OfSsh(0.03)),
            (Wall, BrokerOfBest(0.5)),
            (Wall, EndpointOfSshNg(0.6)),
            (RoundTrips, Target::None),
        ],
    },
    Case {
        name: "input-1g",
        what: "a build with an input of 1 GiB",
        kind: Kind::Builds(Builds {
            make: make_large,
            attribute: "input",
            input: Some(LARGE),
            heavy: true,
            ..NOTHING
        }),
        targets: &[
            (Wall, OfBest(0.8)),
            (Wall, EndpointOfSshNg(1.0)),
            (Cpu, OfBest(0.8)),
            (PeakMemory, AtMost(40.0)),
        ],
    },
    Case {
        name: "output-1g",
        what: "a build with an output of 1 GiB",
        kind: Kind::Builds(Builds {
            make: |bed| bed.need_room(4),
            attribute: "output",
            heavy: true,
            ..NOTHING
        }),
        targets: &[
            (Wall, OfBest(0.8)),
            (Wall, EndpointOfSshNg(1.0)),
            (Cpu, OfBest(0.8)),
            (PeakMemory, AtMost(40.0)),
        ],
    },
    Case {
        name: "tree-in",
        what: "a build with an input of 20,000 files",
        kind: Kind::Builds(Builds {
            make: make_tree,
            attribute: "input",
            input: Some(TREE),
            ..NOTHING
        }),
        targets: &[(Wall, OfBest(0.6)), (Cpu, OfBest(0.6))],
    },
    Case {
        name: "tree-out",
        what: "a build with an output of 20,000 files",
        kind: Kind::Builds(Builds {
            attribute: "tree",
            ..NOTHING
        }),
        targets: &[(Wall, OfBest(0.6)), (Cpu, OfBest(0.6))],
    },
    Case {
        name: "decline",
        what: "the hook's start to its first reply, when no machine takes the build",
        kind: Kind::Reply,
        targets: &[(Wall, AtMost(5.0))],
    },
];

fn make_large(bed: &Bed) -> Result<(), Box<dyn Error>> {
    bed.need_room(4)?;
    bed.on_coordinator(&format!("head -c 1G /dev/urandom >{LARGE}"))?;
    Ok(())
}

/// 200 folders of 100 files, each with 360 bytes.
fn make_tree(bed: &Bed) -> Result<(), Box<dyn Error>> {
    let script = "set -e; mkdir -p TREE; cd TREE; text=$(printf '0123456789%.0s' $(seq 36)); \
                  for d in $(seq 200); do mkdir -p $d; \
                  for f in $(seq 100); do echo $d $f $text >$d/$f; done; done";
    bed.on_coordinator(&script.replace("TREE", TREE))?;
    Ok(())
}
