((@ (srfi srfi-1) append-map)
 (lambda (entry)
   (if (build-machine? entry)
       (list entry)
       entry))
 (list (if (primitive-load "/srv/machines/is-running")
           (list (build-machine
                  (name "localhost") (port 11022) (user "offload") (systems (list "i586-gnu"))
                  (host-key (call-with-input-file "/srv/machines/key.pub"
                              (@ (ice-9 textual-ports) get-string-all)))))
           '())))
