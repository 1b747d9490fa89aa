;; Three machines, and one that is not in use any more.
(list (build-machine
       (name "eightysix.example.org")
       (systems (list "x86_64-linux" "i686-linux"))
       (host-key "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEsh0ASs0yONQoNYvIiZBaoZ+oSzqBcMxU6jDXWpIAT root@eightysix")
       (user "bob")
       (speed 2.))                                ;incredibly fast!

      (build-machine
       (name "armeight.example.org")
       (port 2222)
       (systems '("aarch64-linux" "armhf-linux"))
       (host-key "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB")
       (private-key "/etc/guix/offload/id_ed25519")
       (user "alice smith")
       (compression "none")
       (compression-level 9)
       (daemon-socket "/run/guix/socket")
       (overload-threshold 0.95)
       (parallel-builds 16)
       (speed 1/2)
       (features '("kvm" "big-parallel" "benchmark")))

      #;(build-machine (name "gone.example.org"))
      #| #| and |#
         another |#

      (build-machine
       (name "2001:db8::7")
       (systems '("riscv64-linux"))
       (host-key "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEsh0ASs0yONQoNYvIiZBaoZ+oSzqBcMxU6jDXWpIAT")
       (user "root")
       (private-key #f)
       (parallel-builds 0)
       (features '())
       (speed 1.)))
