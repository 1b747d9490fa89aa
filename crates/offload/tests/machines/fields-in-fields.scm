(define name "outer")
(define user "u")
(list (build-machine (host-key (string-append "ssh-ed25519 " name)) (name "inner") (user user) (systems (list name)))
      (build-machine (name "inner") (user user) (host-key (string-append "ssh-ed25519 " name user)) (systems (list name))))
