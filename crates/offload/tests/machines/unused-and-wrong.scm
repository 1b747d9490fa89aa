(define bad (build-machine (name "bad") (speeed 2)))
(list (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))))
