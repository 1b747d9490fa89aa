//! guix-daemon as a user of its own, as guix 1.5.0 is meant to run, with nothing in its environment.

use crate::bed::{Bed, BedOptions, Build, LIMIT, OURS, require, roots};

const SOCKET: &str = "/var/guix/user-socket";

/// Makes the user, who owns the store, the state and the keys from then on.
const MAKE_USER: &str = "
    echo 'guix-daemon:x:900:900::/home/guix-daemon:/usr/sbin/nologin' >> /etc/passwd
    echo 'guix-daemon:x:900:' >> /etc/group
    mkdir -p /home/guix-daemon/.ssh
    cp /root/.ssh/id_ed25519 /home/guix-daemon/.ssh/
    chown -R 900:900 /home/guix-daemon /gnu /var/guix /var/log/guix /etc/guix";

/// The daemon may own what users build for, and nothing else; its environment has neither HOME nor USER.
const START: &str = "cd /; setsid env -i PATH=/usr/bin:/bin GUIX=OURS OFFLOAD_GUIX=/usr/bin/guix \
    setpriv --reuid=900 --regid=900 --clear-groups --inh-caps=-all,+chown --ambient-caps=-all,+chown \
    guix-daemon --disable-chroot --no-substitutes --listen=SOCKET </dev/null >/var/log/guix/user.log 2>&1 & \
    echo $!; for i in $(seq 100); do [ -S SOCKET ] && break; sleep 0.1; done";

#[test]
fn a_daemon_without_privileges_and_home() {
    require!();
    let roots = roots();
    // 1.2.0 knows root only.
    let Some(root) = roots.iter().find(|root| !root.ends_with("bullseye")) else {
        testbed::require!(known Err::<(), _>("no Guix whose daemon runs as a user"));
        return;
    };
    let bed = Bed::start(&BedOptions::of(root));
    let machine = testbed::GuixMachine {
        private_key: "/home/guix-daemon/.ssh/id_ed25519".into(),
        ..bed.pair.guix_machine()
    };
    bed.use_machines(&[machine]);
    // One daemon at a time: root's leaves files that the user may not change.
    let pid = bed.run(&["cat", "/run/guix-daemon.pid"]);
    bed.run(&[
        "sh",
        "-c",
        &format!("kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done"),
    ]);
    bed.run(&["sh", "-c", MAKE_USER]);
    // As the README's last step has it, by root. What that leaves is the daemon's.
    bed.run(&["env", "OFFLOAD_GUIX=/usr/bin/guix", OURS, "offload", "test"]);
    let left = bed.run(&["find", "/var/guix/offload", "!", "-user", "900"]);
    assert_eq!(left, "");
    let start = START.replace("OURS", OURS).replace("SOCKET", SOCKET);
    let user = bed.run(&["sh", "-c", &start]);
    let log = || bed.read("/var/log/guix/user.log");
    let owner = bed.run(&[
        "sh",
        "-c",
        &format!("stat -c %u /proc/{user}; tr '\\0' '\\n' < /proc/{user}/environ"),
    ]);
    assert!(
        owner.starts_with("900\n") && !owner.contains("HOME="),
        "{owner} {}",
        log()
    );

    for name in ["first", "second"] {
        let socket = format!("GUIX_DAEMON_SOCKET={SOCKET}");
        let script = "echo some $inputs > $out; echo said";
        let build = |options: &[&str]| {
            let command = [
                "env",
                &socket,
                "guix",
                "repl",
                "--",
                "/root/program.scm",
                name,
                script,
            ];
            let output = bed
                .pair
                .coordinator
                .exec_within(LIMIT, &[&command, options].concat());
            Build::parse(&output.unwrap_or_else(|error| panic!("{error}")))
        };
        build(&["offload=no"]).out();
        // Its input is signed with the daemon's key, and its output verified.
        let there = build(&["chain=2"]);
        assert!(there.was_remote(), "{}\n{}", there.said, log());
        let out = there.out();
        assert!(
            bed.read(out).starts_with("some /gnu/store/"),
            "{}",
            there.said
        );
        let owner = bed.run(&["stat", "-c", "%u %a %Y", out]);
        assert_eq!(owner, "900 444 1");
    }
    bed.run(&["kill", &user]);
}
