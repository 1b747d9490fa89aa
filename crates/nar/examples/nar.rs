//! Nix archives on the command line.
//!
//! ```text
//! nar dump PATH > ARCHIVE                    as `nix-store --dump`
//! nar restore PATH < ARCHIVE                 as `nix-store --restore`
//! nar hash PATH                              SHA-256 and size of the archive of PATH
//! nar ls [-R] [-l] [--json] ARCHIVE [PATH]   as `nix nar ls`
//! nar cat ARCHIVE PATH                       as `nix nar cat`
//! ```
//!
//! `cargo run --release --example nar --features serde -- ls -R some.nar`

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use nar::{Listing, Node};
use serde::Serialize;

const USAGE: &str = "run: nar dump PATH | restore PATH | hash PATH \
    | ls [-R] [-l] [--json] ARCHIVE [PATH] | cat ARCHIVE PATH";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Not `Stdout` itself, which looks for line ends in all that passes.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let result = out
        .map_err(|error| format!("open the standard output: {error}").into())
        .and_then(|mut out| run(&arguments, &mut out));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nar: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString], out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (options, arguments): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.as_bytes().starts_with(b"-"));
    let is_ls = arguments.first().is_some_and(|command| *command == "ls");
    if !options.is_empty() && !is_ls {
        return Err(USAGE.into());
    }
    match *arguments {
        [command, path]
            if ["dump", "restore", "hash"]
                .iter()
                .any(|name| command == name) =>
        {
            tree(command, path, out)
        }
        [command, archive, path] if command == "cat" => cat(archive, path, out),
        [command, archive, ref path @ ..] if command == "ls" && path.len() < 2 => {
            let root = OsString::from("/");
            let path = path.first().copied().unwrap_or(&root);
            ls(&Style::chosen(&options)?, archive, path, out)
        }
        _ => Err(USAGE.into()),
    }
}

fn cat(archive: &OsString, path: &OsString, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (listing, source) = scan(archive)?;
    let node = find(&listing, archive, path)?;
    if !matches!(node, Node::File { .. }) {
        let (path, archive) = (path.display(), archive.display());
        return Err(format!("read `{path}` in `{archive}`: it is not a file").into());
    }
    node.open(source)
        .and_then(|mut contents| io::copy(&mut contents, out))
        .map_err(|error| {
            let (path, archive) = (path.display(), archive.display());
            format!("read `{path}` in `{archive}`: {error}")
        })?;
    Ok(())
}

fn ls(
    style: &Style,
    archive: &OsString,
    path: &OsString,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let (listing, _) = scan(archive)?;
    let node = find(&listing, archive, path)?;
    let failed = |error| format!("list `{}`: {error}", archive.display());
    let mut out = BufWriter::new(out);
    let listed = if style.json {
        style.write_json(node, &mut out)
    } else {
        style.list(node, path.as_bytes(), &mut out)
    };
    listed.and_then(|()| out.flush()).map_err(failed)?;
    Ok(())
}

/// What the archive holds, and where to read it.
fn scan(archive: &OsString) -> Result<(Listing, BufReader<File>), String> {
    let file =
        File::open(archive).map_err(|error| format!("open `{}`: {error}", archive.display()))?;
    let mut source = BufReader::new(file);
    let listing = Listing::scan(&mut source).map_err(|error| {
        let error = io::Error::from(error);
        format!("read `{}`: {error}", archive.display())
    })?;
    Ok((listing, source))
}

/// What a file system has to do with.
#[cfg(target_os = "linux")]
fn tree(command: &OsString, path: &OsString, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    if command == "dump" {
        nar::dump(path, out)?;
    } else if command == "restore" {
        nar::restore(&mut io::stdin().lock(), path)?;
    } else {
        let mut digest = nar::Digest::new();
        nar::dump(path, &mut digest)?;
        let fingerprint = digest.finish();
        let hash = fingerprint.sha256.map(|byte| format!("{byte:02x}"));
        writeln!(out, "{} {}", hash.concat(), fingerprint.size)
            .map_err(|error| format!("print the hash of `{}`: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn tree(command: &OsString, _: &OsString, _: &mut impl Write) -> Result<(), Box<dyn Error>> {
    Err(format!("{}: that needs Linux", command.display()).into())
}

fn find<'a>(listing: &'a Listing, archive: &OsString, path: &OsString) -> Result<&'a Node, String> {
    listing.find(path.as_bytes()).ok_or_else(|| {
        let (path, archive) = (path.display(), archive.display());
        format!("find `{path}` in `{archive}`")
    })
}

/// A directory as `nix nar ls --json` has it without `-R`: what is in it is named and left empty.
#[derive(Serialize)]
struct Names<'a> {
    r#type: &'static str,
    entries: BTreeMap<&'a str, Empty>,
}

#[derive(Serialize)]
struct Empty {}

impl<'a> Names<'a> {
    fn of(entries: &'a BTreeMap<Vec<u8>, Node>) -> io::Result<Self> {
        let named = entries.keys().map(|name| match str::from_utf8(name) {
            Ok(name) => Ok((name, Empty {})),
            Err(_) => {
                let name = name.escape_ascii();
                Err(io::Error::other(format!("name is not UTF-8: {name}")))
            }
        });
        Ok(Self {
            r#type: "directory",
            entries: named.collect::<io::Result<_>>()?,
        })
    }
}

#[derive(Default)]
struct Style {
    recursive: bool,
    long: bool,
    json: bool,
}

impl Style {
    fn chosen(options: &[&OsString]) -> Result<Self, &'static str> {
        let mut style = Self::default();
        for option in options {
            match option.as_bytes() {
                b"--json" => style.json = true,
                [b'-', letters @ ..] if letters.iter().all(|letter| b"Rl".contains(letter)) => {
                    style.recursive |= letters.contains(&b'R');
                    style.long |= letters.contains(&b'l');
                }
                _ => return Err(USAGE),
            }
        }
        Ok(style)
    }

    fn write_json(&self, node: &Node, out: &mut impl Write) -> io::Result<()> {
        match node {
            Node::Directory(entries) if !self.recursive => {
                serde_json::to_writer(&mut *out, &Names::of(entries)?)?;
            }
            node => serde_json::to_writer(&mut *out, node)?,
        }
        writeln!(out)
    }

    fn list(&self, node: &Node, path: &[u8], out: &mut impl Write) -> io::Result<()> {
        match node {
            Node::Directory(_) => self.list_directory(node, b".", out),
            node => self.line(
                node,
                path.rsplit(|&byte| byte == b'/').next().unwrap_or(path),
                out,
            ),
        }
    }

    fn list_directory(&self, node: &Node, path: &[u8], out: &mut impl Write) -> io::Result<()> {
        let Node::Directory(entries) = node else {
            return Ok(());
        };
        for (name, node) in entries {
            let path = [path, b"/", name].concat();
            self.line(node, &path, out)?;
            if self.recursive {
                self.list_directory(node, &path, out)?;
            }
        }
        Ok(())
    }

    fn line(&self, node: &Node, path: &[u8], out: &mut impl Write) -> io::Result<()> {
        if self.long {
            let (mode, size) = match node {
                Node::File {
                    executable: true,
                    size,
                    ..
                } => ("-r-xr-xr-x", *size),
                Node::File {
                    executable: false,
                    size,
                    ..
                } => ("-r--r--r--", *size),
                Node::Symlink(_) => ("lrwxrwxrwx", 0),
                Node::Directory(_) => ("dr-xr-xr-x", 0),
            };
            write!(out, "{mode} {size:>20} ")?;
        }
        out.write_all(path)?;
        if let (true, Node::Symlink(target)) = (self.long, node) {
            out.write_all(b" -> ")?;
            out.write_all(target)?;
        }
        out.write_all(b"\n")
    }
}
