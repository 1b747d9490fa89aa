(define good (build-machine (name "good") (user "u") (host-key "ssh-ed25519 AAAA") (systems (quote ("x86_64-linux")))))
(define bad (build-machine (inherit good) (speed -1)))
(list good
      (build-machine (inherit bad) (name "a"))
      (build-machine (inherit bad) (name "b") (speed 2)))
