//! Nix archives on the command line.
//!
//! ```text
//! nar dump PATH > ARCHIVE        as `nix-store --dump`
//! nar restore PATH < ARCHIVE     as `nix-store --restore`
//! nar hash PATH                  SHA-256 and size of the archive of PATH
//! ```

use std::error::Error;
use std::ffi::OsStr;
use std::io::{Write, stdin, stdout};

use nar::{Digest, Observed};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    match *arguments {
        [command, path] if command == "dump" => {
            nar::dump(path, &mut stdout().lock())?;
        }
        [command, path] if command == "restore" => nar::restore(&mut stdin().lock(), path)?,
        [command, path] if command == "hash" => {
            let mut digest = Digest::new();
            nar::dump(path, &mut Observed::new(std::io::sink(), &mut digest))?;
            let fingerprint = digest.finish();
            for byte in fingerprint.sha256 {
                write!(stdout(), "{byte:02x}")?;
            }
            writeln!(stdout(), " {}", fingerprint.size)?;
        }
        _ => return Err("usage: nar dump PATH | restore PATH | hash PATH".into()),
    }
    Ok(())
}
