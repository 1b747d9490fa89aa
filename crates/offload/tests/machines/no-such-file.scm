(list (build-machine (name "good") (user "u") (host-key "ssh-ed25519 AAAA") (systems (quote ("x86_64-linux"))))
      (build-machine (name "a") (user "u") (systems '("x86_64-linux"))
        (host-key (call-with-input-file "/srv/machines/no-such-key" (@ (ice-9 textual-ports) get-string-all)))))
