(list (build-machine (name "good") (user "u") (host-key "ssh-ed25519 AAAA") (systems (quote ("x86_64-linux"))))
      (build-machine (inherit "x") (name "a")))
