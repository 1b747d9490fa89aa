(define (machine name)
  (build-machine (name name) (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))))

(map machine '("a" "b"))
