((@ (srfi srfi-1) append-map)
 (lambda (entry)
   (if (build-machine? entry)
       (list entry)
       entry))
 (list (build-machine
        (name "a") (user "u") (systems (list "x86_64-linux"))
        (host-key "ssh-ed25519 AAAA"))
       (list (build-machine
              (name "localhost") (port 11022) (user "offload") (systems (list "i586-gnu" "x86_64-gnu"))
              (host-key (call-with-input-file "/srv/machines/key.pub"
                          (@ (ice-9 textual-ports) get-string-all)))
              (private-key "/etc/childhurd/etc/ssh/id"))
             (build-machine
              (name "b") (user "u") (systems (list "x86_64-linux")) (host-key "ssh-ed25519 AAAA")))
       '()))
