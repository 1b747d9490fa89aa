(list (build-machine
       (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))
       (private-key (string-append (getenv "HOME") "/.ssh/offload")))
      (build-machine
       (name "b") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x86_64-linux"))
       (private-key (getenv "NO_SUCH_VARIABLE"))
       (overload-threshold (if (getenv "NO_SUCH_VARIABLE") 0.5 #f))))
