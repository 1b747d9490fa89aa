//! Real store daemons and a real sshd on one machine, each host in namespaces of its own, for tests and benchmarks.
