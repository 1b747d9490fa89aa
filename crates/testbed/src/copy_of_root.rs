//! Commands in a copy of a root folder that forgets its changes.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::Missing;

/// The environment variable that names a folder of root folders of distributions, each made by `debootstrap` with
/// nix-bin or guix installed in it, for tests that talk to more versions than this machine has.
pub const ROOTS_VARIABLE: &str = "OFFLOAD_ROOTS";

/// Mounts the copy in a mount namespace of its own, and the folders that are kept over it.
const ENTER: &str = r#"
set -e
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
mount -t proc proc "$SCRATCH/root/proc"
mount --rbind /dev "$SCRATCH/root/dev"
cd "$KEPT"
find . -mindepth 1 -name .kept -printf '%h\n' | while read -r folder; do
    mkdir -p "$SCRATCH/root/$folder"
    mount --bind "$folder" "$SCRATCH/root/$folder"
done
cd /
exec chroot "$SCRATCH/root" env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"#;

/// A copy of a root folder in which commands are run. Each command has a copy of its own, made in no time, whose changes
/// are forgotten when it ends, but for some folders that all of them share.
///
/// Needs root. Nothing is isolated but the file system.
#[derive(Debug)]
pub struct CopyOfRoot {
    root: PathBuf,
    directory: TempDir,
}

impl CopyOfRoot {
    /// Over `root`, with the folders `kept`, absolute paths inside, that are empty at first and shared.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn new(root: impl Into<PathBuf>, kept: &[&str]) -> io::Result<Self> {
        let directory = TempDir::with_prefix("copy-of-root-")?;
        fs::create_dir(directory.path().join("scratch"))?;
        let copy = Self {
            root: root.into(),
            directory,
        };
        for folder in kept {
            let folder = copy.kept(folder);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(".kept"), "")?;
        }
        Ok(copy)
    }

    /// The root folder that is copied.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where this process finds `path`, an absolute path inside, if it is in a folder that is kept.
    #[must_use]
    pub fn kept(&self, path: &str) -> PathBuf {
        let kept = self.directory.path().join("kept");
        kept.join(path.trim_start_matches('/'))
    }

    /// A file that can be run in the place of the program `name` inside. Arguments may be paths of [kept](Self::kept)
    /// files outside.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn program(&self, name: &str) -> io::Result<PathBuf> {
        let file = self.directory.path().join(name);
        fs::write(&file, program(self, name))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(file)
    }

    /// A command inside, whose working directory is `/` and whose environment holds `HOME`, `LC_ALL` and `PATH` only.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                ENTER,
                "sh",
                program,
            ])
            .env("ROOT", &self.root)
            .env("SCRATCH", self.directory.path().join("scratch"))
            .env("KEPT", self.directory.path().join("kept"));
        command
    }
}

/// Runs a program inside; what begins with the place of the kept folders outside loses that.
fn program(copy: &CopyOfRoot, name: &str) -> String {
    let kept = copy.directory.path().join("kept");
    let scratch = copy.directory.path().join("scratch");
    format!(
        "#!/bin/bash\nexport ROOT='{}' SCRATCH='{}' KEPT='{kept}'\nscript=$(cat <<'EOF'{ENTER}EOF\n)\n\
         exec unshare --mount --propagation private sh -c \"$script\" sh {name} \"${{@/#$KEPT/}}\"\n",
        copy.root.display(),
        scratch.display(),
        kept = kept.display(),
    )
}

/// The root folders in the folder that [`ROOTS_VARIABLE`] names which hold `program`, sorted by name.
/// `None` if nobody asked for them: the variable is not set.
///
/// # Errors
/// What is missing, if they were asked for and cannot be used: root, or any that holds the program.
pub fn roots_with(program: &str) -> Result<Option<Vec<PathBuf>>, Missing> {
    let Some(folder) = std::env::var_os(ROOTS_VARIABLE) else {
        return Ok(None);
    };
    if !rustix::process::geteuid().is_root() {
        return Err(Missing::one("not root"));
    }
    let folder = PathBuf::from(folder);
    let entries = fs::read_dir(&folder)
        .map_err(|error| Missing::one(format!("failed to list {}: {error}", folder.display())))?;
    let mut roots: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|root| root.join(program).exists())
        .collect();
    roots.sort();
    match roots.is_empty() {
        true => Err(Missing::one(format!(
            "no root with {program} in {}",
            folder.display()
        ))),
        false => Ok(Some(roots)),
    }
}
