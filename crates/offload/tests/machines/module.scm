(define-module (machines)
  #:use-module (guix scripts offload)
  #:use-module ((srfi srfi-1) #:select (append-map)))

(list (build-machine
       (name "a") (user "u") (host-key "ssh-ed25519 AAAA")
       (systems '("x86_64-linux"))))
