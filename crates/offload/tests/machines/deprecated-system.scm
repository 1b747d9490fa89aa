(list (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (system "x86_64-linux"))
      (build-machine (name "b") (user "u") (host-key "ssh-ed25519 AAAA") (system "x86_64-linux")
                     (systems '("i686-linux"))))
