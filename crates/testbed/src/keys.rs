//! The keys of a pair, made by ssh-keygen.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    Error,
    error::While,
    output::{run, tail},
};

/// How long ssh-keygen may take; it needs milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Makes an ed25519 key without a passphrase at `file`, its public half at `file` with `.pub` added, and returns the
/// public line (`ssh-ed25519 AAAA... comment`) without its end.
pub(crate) fn generate(file: &Path, comment: &str) -> Result<String, Error> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(file);
    let (output, _) = run(&mut command, LIMIT).while_trying(|| "run ssh-keygen".into())?;
    if !output.status.success() {
        let reason = std::io::Error::other(tail(&output.stderr, 3).to_owned());
        return Err(reason).while_trying(|| format!("make the key {}", file.display()));
    }
    let public = file.with_added_extension("pub");
    let line = fs::read_to_string(&public).while_trying(|| format!("read {}", public.display()))?;
    Ok(line.trim_end().to_owned())
}
