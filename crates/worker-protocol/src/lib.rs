//! The protocol between a store client and a store daemon, both halves, sans-I/O, pipelined.
