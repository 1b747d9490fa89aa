//! `guix authenticate`, as guix-daemon talks to it.

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use testbed::CopyOfRoot;

/// Seconds after which whatever runs in a test is killed.
pub(crate) const LIMIT: &str = "300";

/// A running `guix authenticate`; each request is a line, each reply a status and a text.
pub(crate) struct Agent {
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Agent {
    pub(crate) fn start(copy: &CopyOfRoot) -> Self {
        let mut process = copy
            .command("timeout")
            .args([LIMIT, "guix", "authenticate"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("guix starts");
        Self {
            requests: process.stdin.take().expect("it is piped"),
            replies: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
        }
    }

    /// `0 430:(signature ..)`, or `500 N:error: ..`.
    pub(crate) fn ask(&mut self, command: &str, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut line = command.as_bytes().to_vec();
        for argument in arguments {
            line.extend(format!(" {}:", argument.len()).bytes());
            line.extend(*argument);
        }
        line.push(b'\n');
        self.requests.write_all(&line).expect("it listens");
        let status = self.until(b' ');
        let length = self.until(b':').parse().expect("a length");
        let mut text = vec![0; length];
        self.replies.read_exact(&mut text).expect("a whole text");
        match status.as_str() {
            "0" => Ok(text),
            _ => Err(format!("{status} {}", String::from_utf8_lossy(&text))),
        }
    }

    pub(crate) fn sign(&mut self, key_file: &str, hash: &str) -> Vec<u8> {
        self.ask("sign", &[key_file.as_bytes(), hash.as_bytes()])
            .expect("it has the key")
    }

    /// The hash that is signed, in hexadecimal digits.
    pub(crate) fn verify(&mut self, signature: &[u8]) -> Result<String, String> {
        let hash = self.ask("verify", &[signature])?;
        Ok(String::from_utf8(hash).expect("digits"))
    }

    fn until(&mut self, end: u8) -> String {
        let mut text = String::new();
        loop {
            let mut byte = [0];
            self.replies.read_exact(&mut byte).expect("it goes on");
            match byte[0] {
                byte if byte == end => return text,
                // 1.2.0 ends its replies with nothing, as 1.5.0 does; a stray line's end would be a fault of ours.
                byte => text.push(char::from(byte)),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
