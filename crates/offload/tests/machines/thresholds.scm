(define a (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))
                         (overload-threshold #f)))
(list a
      (build-machine (inherit a) (name "b") (overload-threshold 2.))
      (build-machine (inherit a) (name "c") (overload-threshold .5))
      (build-machine (inherit a) (name "d") (overload-threshold 0)))
