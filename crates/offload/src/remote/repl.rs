//! A `guix repl` on a machine, where its sshd forwards no sockets: Guile stands between us and the daemon's socket.
//!
//! ```text
//! <- (repl-version 0 1 1)\n        and whatever a login shell prints
//! -> (begin .. )                   the program below
//! <- offload: connected\n          from here on what the daemon says
//! <- (exception ..)\n              or: it cannot be reached
//! ```
//! The daemon speaks only when it is spoken to, so that nothing of ours can come before the program is at work.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::link::{ByteStream, Link, LinkError};

/// What is run on the machine: stock runs the same there.
pub(crate) const COMMAND: &str = "guix repl -t machine";

/// Most that may come before the program is at work, in bytes.
const MAX_PREFACE: usize = 64 << 10;
/// Most of a machine's own words that a message shows, in bytes.
const MAX_REASON: usize = 200;

/// What the program says when it is at work.
const CONNECTED: &str = "offload: connected";

/// Opens a stream to the socket at `socket` on the machine. Guile may take `bound` to start and to connect: a tenth
/// of a second on an idle machine.
pub(super) async fn open_socket(
    link: &Link,
    socket: &str,
    bound: Duration,
) -> Result<ByteStream, LinkError> {
    let mut stream = link.exec(COMMAND).await?;
    let way = format!("{COMMAND:?} to {socket}");
    let begun = tokio::time::timeout(bound, begin(&mut stream, socket)).await;
    let begun = begun.unwrap_or_else(|_| {
        Err(format!(
            "no answer within {} s (bound greeting)",
            bound.as_secs_f32()
        ))
    });
    match begun {
        Ok(()) => Ok(ByteStream { way, ..stream }),
        Err(reason) => Err(LinkError::Channel { way, reason }),
    }
}

async fn begin(stream: &mut ByteStream, socket: &str) -> Result<(), String> {
    let sent = async {
        stream.writer.write_all(program(socket).as_bytes()).await?;
        stream.writer.flush().await
    };
    // Why it ended is said by what can be read.
    let _: std::io::Result<()> = sent.await;
    let mut line = Vec::new();
    for _ in 0..MAX_PREFACE {
        // One by one: what follows the line is the daemon's.
        match stream.reader.read_u8().await {
            Ok(b'\n') => {}
            Ok(byte) => {
                line.push(byte);
                continue;
            }
            Err(error) => return Err(error.to_string()),
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
        if text == CONNECTED {
            return Ok(());
        }
        if text.starts_with("(exception ") {
            return Err(text.chars().take(MAX_REASON).collect());
        }
    }
    Err(format!("more than {MAX_PREFACE} bytes, and no connection"))
}

/// Connects Guile's standard input and output to the socket until one of them ends. Ports with a buffer hand out
/// all that is there at once, so that nothing is left in one when both are waited for.
fn program(socket: &str) -> String {
    let socket = socket.replace('\\', r"\\").replace('"', "\\\"");
    format!(
        r#"(begin
  (use-modules (ice-9 binary-ports))
  (let ((daemon (socket AF_UNIX SOCK_STREAM 0))
        (input (current-input-port))
        (output (current-output-port)))
    (connect daemon AF_UNIX "{socket}")
    (for-each (lambda (port) (setvbuf port 'block 65536)) (list daemon input output))
    (display "{CONNECTED}\n" output)
    (force-output output)
    (letrec ((pass (lambda (from to)
                     (let ((bytes (get-bytevector-some from)))
                       (cond ((eof-object? bytes) (primitive-exit 0))
                             (else (put-bytevector to bytes) (force-output to))))))
             (serve (lambda ()
                      (let ((ready (car (select (list input daemon) '() '()))))
                        (if (memq input ready) (pass input daemon))
                        (if (memq daemon ready) (pass daemon output))
                        (serve)))))
      (serve))))"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a machine that answers with `answer`, and what of that is left for the daemon's client.
    async fn begun(answer: &str) -> (Result<(), String>, String) {
        let reader = std::io::Cursor::new(answer.as_bytes().to_vec());
        let mut stream = ByteStream::new(reader, tokio::io::sink(), "test");
        let begun = begin(&mut stream, "/socket").await;
        let mut rest = String::new();
        stream.reader.read_to_string(&mut rest).await.unwrap();
        (begun, rest)
    }

    #[tokio::test]
    async fn nothing_of_the_daemons_is_lost() {
        let answer = format!("welcome\n(repl-version 0 1 1)\n{CONNECTED}\ndaemon\nsays\n");
        assert_eq!(begun(&answer).await, (Ok(()), "daemon\nsays\n".to_owned()));
    }

    #[tokio::test]
    async fn who_does_not_connect_says_why() {
        let mut reasons = Vec::new();
        for answer in [
            "",
            "(repl-version 0 1 1)\n",
            "(exception system-error (value \"connect\") (value \"No such file or directory\"))\n",
            &format!("(exception {}\n", "x".repeat(1000)),
            &"y\n".repeat(MAX_PREFACE),
        ] {
            reasons.push(begun(answer).await.0.unwrap_err());
        }
        insta::assert_snapshot!(reasons.join("\n"));
    }

    #[test]
    fn a_path_stays_one_string() {
        assert!(program(r#"/a"b\c"#).contains(r#"AF_UNIX "/a\"b\\c")"#));
    }
}
