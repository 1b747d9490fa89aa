//! Programs of another distribution, in its root folder, with stores of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Names a folder of root folders, as `debootstrap` makes them, with nix-bin or guix installed in them.
const ROOTS: &str = "OFFLOAD_ROOTS";

/// Longest that a program may take: none of them builds anything.
const LIMIT: &str = "300";

/// Makes a copy of the root that forgets its changes, but for the stores, and runs the arguments in it. The process namespace ends whatever
/// they leave running.
const ENTER: &str = r#"
set -e
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
mount -t proc proc "$SCRATCH/root/proc"
mount --rbind /dev "$SCRATCH/root/dev"
for each in nix gnu var/guix run/peer; do
    mkdir -p "$SCRATCH/root/$each" "$STATE/$each"
    mount --bind "$STATE/$each" "$SCRATCH/root/$each"
done
exec chroot "$SCRATCH/root" "$@"
"#;

/// A root folder, and a folder for what its programs keep.
pub(crate) struct Root {
    root: PathBuf,
    folder: TempDir,
}

impl Root {
    /// All that have `program`, none if nobody asked for any.
    pub(crate) fn all(program: &str) -> Vec<Self> {
        let Some(roots) = std::env::var_os(ROOTS) else {
            eprintln!("not asked for: {program} of other distributions, as {ROOTS} is not set");
            return Vec::new();
        };
        let entries = std::fs::read_dir(roots).expect("the folder can be listed");
        let mut roots: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        roots.retain(|root| root.join("usr/bin").join(program).exists());
        roots.sort();
        roots.into_iter().map(Self::new).collect()
    }

    fn new(root: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("scratch")).expect("a folder");
        std::fs::create_dir_all(folder.path().join("state/run/peer")).expect("a folder");
        Self { root, folder }
    }

    /// Puts one of the files of `tests/data` where the programs see it, and says where.
    pub(crate) fn give(&self, name: &str) -> String {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        std::fs::copy(from, self.outside("/run/peer").join(name)).expect("copied");
        format!("/run/peer/{name}")
    }

    /// Where we see what the programs see at `path`, which is below one of the stores or in `/run/peer`.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.folder
            .path()
            .join("state")
            .join(path.trim_start_matches('/'))
    }

    pub(crate) fn run(&self, command: &[&str]) -> Output {
        Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "timeout",
                LIMIT,
            ])
            .args(["sh", "-c", ENTER, "sh"])
            .args(command)
            .env("ROOT", &self.root)
            .env("SCRATCH", self.folder.path().join("scratch"))
            .env("STATE", self.folder.path().join("state"))
            .env("HOME", "/run/peer")
            .env_remove("NIX_REMOTE")
            .output()
            .expect("unshare starts")
    }

    /// What the command prints. It has to succeed.
    pub(crate) fn print(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command:?} in {} failed: {errors}",
            self.root.display()
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}
