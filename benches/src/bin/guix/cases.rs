//! What is measured, and what there is to reach.

/// Where an input is made, on the coordinator.
pub(crate) const INPUT: &str = "/root/input";

/// The one before is moved away, and not deleted.
const TREE: &str = "set -e; [ ! -e /root/input ] || mv /root/input /root/before-$ID; mkdir /root/input; cd /root/input; for d in $(seq 200); do mkdir $d; \
                    for f in $(seq 100); do echo $d $f $ID >$d/$f; done; done";

/// No two builds make the same file: replacing it by a link to the other's deletes it.
const TREE_OUT: &str = "name=${out#*-}; mkdir $out; cd $out; d=0; while [ $d -lt 200 ]; do mkdir $d; f=0; while [ $f -lt 100 ]; \
                        do echo $d $f $name > $d/$f; f=$((f+1)); done; d=$((d+1)); done";

/// Builds that are asked for one after the other; what is measured is divided by their number.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) builds: u32,
    /// Over the link with a delay.
    pub(crate) far: bool,
    pub(crate) script: &'static str,
    /// What makes the input anew for each run.
    pub(crate) input: Option<&'static str>,
    /// Whether what it brings is so large that it is deleted at once. Not where it is many files: for minutes ext4 looks at
    /// each inode that was freed before it takes another, and whoever comes next is ten times slower.
    pub(crate) heavy: bool,
    /// What of stock's wall time is to be reached, and of its processor time.
    pub(crate) wall: f64,
    pub(crate) cpu: Option<f64>,
}

pub(crate) const CASES: [Case; 8] = [
    Case {
        name: "trivial",
        what: "trivial builds; per build",
        builds: 3,
        far: false,
        script: "echo x > $out",
        input: None,
        heavy: false,
        wall: 0.05,
        cpu: Some(0.1),
    },
    Case {
        name: "trivial-50ms",
        what: "the same at 50 ms of round trip time",
        builds: 3,
        far: true,
        script: "echo x > $out",
        input: None,
        heavy: false,
        wall: 0.15,
        cpu: None,
    },
    Case {
        name: "input-512m",
        what: "a build with an input of 512 MiB",
        builds: 1,
        far: false,
        script: "echo $input > $out",
        input: Some("head -c 512M /dev/urandom > /root/input"),
        heavy: true,
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "output-512m",
        what: "a build with an output of 512 MiB",
        builds: 1,
        far: false,
        script: "head -c 536870912 /dev/zero > $out",
        input: None,
        heavy: true,
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "tree-in",
        what: "a build with an input of 20,000 files",
        builds: 1,
        far: false,
        script: "echo $input > $out",
        input: Some(TREE),
        heavy: false,
        wall: 0.7,
        cpu: None,
    },
    Case {
        name: "tree-out",
        what: "a build with an output of 20,000 files",
        builds: 1,
        far: false,
        script: TREE_OUT,
        input: None,
        heavy: false,
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "input-64m-50ms",
        what: "a build with an input of 64 MiB at 50 ms",
        builds: 1,
        far: true,
        script: "echo $input > $out",
        input: Some("head -c 64M /dev/urandom > /root/input"),
        heavy: true,
        wall: 0.4,
        cpu: None,
    },
    Case {
        name: "output-64m-50ms",
        what: "a build with an output of 64 MiB at 50 ms",
        builds: 1,
        far: true,
        script: "head -c 67108864 /dev/zero > $out",
        input: None,
        heavy: true,
        wall: 0.3,
        cpu: None,
    },
];
