(define a (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))))
(list (build-machine (inherit a) (speed "x") (name "b") (speed 2) (name "c") (host-key (string-append "ssh-ed25519 " name))))
