//! A second daemon of a coordinator's store, in another environment than the first.

use testbed::Host;

use crate::bed::{Build, LIMIT};

/// Where it listens.
const SOCKET: &str = "/var/guix/second-socket";

/// It ends when this is dropped. One at a time on a host.
pub(crate) struct SecondDaemon<'a> {
    host: &'a Host,
    pid: String,
}

impl<'a> SecondDaemon<'a> {
    /// Starts it with nothing in its environment but these `NAME=VALUE`.
    pub(crate) fn start(host: &'a Host, environment: &[&str]) -> Self {
        let start = format!(
            "setsid env -i \"$@\" /usr/bin/guix-daemon --disable-chroot --no-substitutes --listen={SOCKET} \
             </dev/null >/var/log/second.log 2>&1 & echo $!; until [ -S {SOCKET} ]; do sleep 0.1; done"
        );
        let command = [&["sh", "-c", &start, "sh"], environment].concat();
        let started = host.run(&command);
        let pid = started.unwrap_or_else(|error| panic!("{error}"));
        SecondDaemon {
            host,
            pid: pid.trim().to_owned(),
        }
    }

    /// Builds `script` as `name`; `options` are those of `program.scm`.
    pub(crate) fn build(&self, name: &str, script: &str, options: &[&str]) -> Build {
        let socket = format!("GUIX_DAEMON_SOCKET={SOCKET}");
        let guix = ["env", &socket, "guix", "repl", "--", "/root/program.scm"];
        let command = [&guix[..], &[name, script], options].concat();
        let output = self.host.exec_within(LIMIT, &command);
        Build::parse(&output.unwrap_or_else(|error| panic!("{error}")))
    }
}

impl Drop for SecondDaemon<'_> {
    fn drop(&mut self) {
        let end = format!(
            "kill {} && while kill -0 {0} 2>/dev/null; do sleep 0.1; done; rm -f {SOCKET}",
            self.pid
        );
        self.host.run(&["sh", "-c", &end]).ok();
    }
}
