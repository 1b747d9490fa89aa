//! The oracle of the fuzz target.

use std::io;
use std::path::Path;

use super::{NotStatic, Reading, Surroundings, read_scheme};
use crate::machines::Origin;

/// Whatever a program is, it is read, or told to be no list, or has to be evaluated; and what is said about it is said of
/// a place that it has.
///
/// # Panics
/// If that does not hold for `data`.
pub fn machine_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let is_there = |origin: &Origin| {
        let line = text.split('\n').nth(origin.line - 1);
        line.is_some_and(|line| {
            origin
                .column
                .is_none_or(|column| (1..=line.len() + 1).contains(&column))
        })
    };
    match read_scheme(text, "fuzz", surroundings()) {
        Reading::NotStatic(NotStatic { origin, form }) => {
            assert!(is_there(&origin) && form.len() <= NotStatic::MAX_FORM);
        }
        Reading::Machines(list) => {
            for problem in &list.problems {
                assert!(
                    problem.origin.source != "fuzz" || is_there(&problem.origin),
                    "{problem}"
                );
                assert!(list.machines.is_empty() || !problem.is_fatal());
            }
            for machine in &list.machines {
                assert!(!machine.systems.is_empty() && !machine.uri.host().is_empty());
                assert!(machine.speed_factor > 0.0 && machine.speed_factor.is_finite());
                assert_eq!(machine.uri.host(), machine.name);
                assert!(machine.host_key.is_some() && !machine.compression.methods.is_empty());
            }
        }
    }
}

/// A home directory, and one file.
fn surroundings() -> Surroundings<'static> {
    Surroundings {
        variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
        read: &|path| match path == Path::new("/key") {
            true => Ok("ssh-ed25519 AAAA\n".to_owned()),
            false => Err(io::ErrorKind::NotFound.into()),
        },
    }
}
