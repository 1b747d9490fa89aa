//! The real `guix authenticate`, for keys that only libgcrypt knows. It is talked to as guix-daemon does:
//!
//! ```text
//! sign 25:/etc/guix/signing-key.sec 64:HEX\n    0 430:(signature ..)
//! verify 430:(signature ..)\n                   0 64:HEX                  the hash that is signed
//!                                               500 39:error: unauthorized public key ..
//! ```
//! A reply has no end of line. Seen on guix 1.2.0 and 1.5.0; 1.2.0 dies of a key file that is not there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::GuixProgram;

/// Largest answer, in bytes: a signature by an RSA key of 16384 bits has some 9,000.
const MAX_ANSWER: usize = 1 << 20;
/// Longest number in front of an answer, in digits.
const MAX_DIGITS: usize = 20;

/// Why `guix authenticate` is of no use. No machine is to blame.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is no `guix` to ask.
    #[error("no guix is found, which has to judge keys that are not ECDSA on Ed25519")]
    NoGuix,
    /// It does not start, or ends before it has answered.
    #[error("failed to have {} authenticate: {source}", program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It does not answer.
    #[error("no answer within {} s (bound program) from {} authenticate", patience.as_secs_f32(), program.display())]
    Silent {
        /// The program.
        program: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Its answer makes no sense.
    #[error("{} authenticate answers with nonsense: {answer:?}", program.display())]
    Nonsense {
        /// The program.
        program: PathBuf,
        /// What it said.
        answer: String,
    },
    /// It cannot do what it is asked.
    #[error("{} authenticate says: {reason}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// A running `guix authenticate`. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Authenticate {
    program: PathBuf,
    /// How long one answer may take.
    patience: Duration,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    _process: Child,
}

impl Authenticate {
    pub(super) fn start(program: &GuixProgram) -> Result<Self, AuthenticateError> {
        let GuixProgram {
            path: program,
            patience,
        } = program;
        let failed = |source| AuthenticateError::Io {
            program: program.to_owned(),
            source,
        };
        let mut process = Command::new(program)
            .arg("authenticate")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let requests = process.stdin.take().expect("it is piped");
        let replies = process.stdout.take().expect("it is piped");
        Ok(Authenticate {
            program: program.to_owned(),
            patience: *patience,
            requests,
            replies: BufReader::new(replies),
            _process: process,
        })
    }

    /// The signature of `hash`, a SHA-256, by the key in the file `key`.
    pub(super) async fn sign(
        &mut self,
        key: &Path,
        hash: &[u8; 32],
    ) -> Result<Vec<u8>, AuthenticateError> {
        let hash = HEXLOWER.encode(hash);
        let key = std::os::unix::ffi::OsStrExt::as_bytes(key.as_os_str());
        self.ask("sign", &[key, hash.as_bytes()]).await
    }

    /// The hash that `signature` signs, if it is valid and by a key that is let in here.
    pub(super) async fn verify(&mut self, signature: &[u8]) -> Result<[u8; 32], AuthenticateError> {
        let answer = self.ask("verify", &[signature]).await?;
        let hash = HEXLOWER_PERMISSIVE.decode(&answer).ok();
        let hash = hash.and_then(|hash| hash.try_into().ok());
        hash.ok_or_else(|| self.nonsense(&answer))
    }

    async fn ask(
        &mut self,
        command: &str,
        arguments: &[&[u8]],
    ) -> Result<Vec<u8>, AuthenticateError> {
        let mut request = command.as_bytes().to_vec();
        for argument in arguments {
            request.extend(format!(" {}:", argument.len()).bytes());
            request.extend(*argument);
        }
        request.push(b'\n');
        let answered = tokio::time::timeout(self.patience, self.exchange(&request)).await;
        let (status, text) = answered.map_err(|_| AuthenticateError::Silent {
            program: self.program.clone(),
            patience: self.patience,
        })??;
        match status {
            0 => Ok(text),
            _ => Err(AuthenticateError::Refused {
                program: self.program.clone(),
                reason: String::from_utf8_lossy(&text).trim().to_owned(),
            }),
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<(usize, Vec<u8>), AuthenticateError> {
        let sent = self.requests.write_all(request).await;
        sent.map_err(|source| self.failed(source))?;
        let status = self.number(b' ').await?;
        let length = self.number(b':').await?;
        if length > MAX_ANSWER {
            return Err(self.nonsense(format!("{status} {length}:").as_bytes()));
        }
        let mut text = vec![0; length];
        let read = self.replies.read_exact(&mut text).await;
        read.map_err(|source| self.failed(source))?;
        Ok((status, text))
    }

    /// The digits before `end`.
    async fn number(&mut self, end: u8) -> Result<usize, AuthenticateError> {
        let mut digits = Vec::new();
        loop {
            let read = self.replies.read_u8().await;
            match read.map_err(|source| self.failed(source))? {
                byte if byte == end => break,
                byte => digits.push(byte),
            }
            if digits.len() > MAX_DIGITS {
                return Err(self.nonsense(&digits));
            }
        }
        let number = std::str::from_utf8(&digits).ok();
        let number = number.and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| self.nonsense(&digits))
    }

    fn failed(&self, source: std::io::Error) -> AuthenticateError {
        AuthenticateError::Io {
            program: self.program.clone(),
            source,
        }
    }

    fn nonsense(&self, answer: &[u8]) -> AuthenticateError {
        AuthenticateError::Nonsense {
            program: self.program.clone(),
            answer: String::from_utf8_lossy(answer).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a verification where `guix authenticate` answers with `answer`, and may take `patience` for it.
    async fn verified(answer: &str, patience: Duration) -> Result<[u8; 32], String> {
        let script = r#"read -r line; printf '%s' "$0"; cat >/dev/null"#;
        let mut process = Command::new("/bin/sh")
            .args(["-c", script, answer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut authenticate = Authenticate {
            program: "guix".into(),
            patience,
            requests: process.stdin.take().unwrap(),
            replies: BufReader::new(process.stdout.take().unwrap()),
            _process: process,
        };
        let verified = authenticate.verify(b"(signature)").await;
        verified.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_answer_is_a_status_and_a_text_of_that_length() {
        let hash = "0f".repeat(32);
        let long = Duration::from_secs(60);
        let good = verified(&format!("0 64:{hash}"), long).await;
        assert_eq!(good, Ok([15; 32]));
        let mut texts = Vec::new();
        for answer in [
            "500 31:error: unauthorized public key ",
            "0 4:0f0f",
            "0 -1:",
            "0 99999999:",
            "a long word without any end at all",
        ] {
            texts.push(verified(answer, long).await.unwrap_err());
        }
        let short = Duration::from_millis(20);
        texts.push(verified("0 64:", short).await.unwrap_err());
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[tokio::test]
    async fn who_is_not_there_is_named() {
        let error = Authenticate::start(&GuixProgram {
            path: PathBuf::from("/nonexistent/guix"),
            patience: Duration::from_secs(60),
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("failed to have /nonexistent/guix authenticate: "),
            "{text}"
        );
    }
}
