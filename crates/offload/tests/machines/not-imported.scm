
(append-map (lambda (x) (if (build-machine? x) (list x) x))
            `(,(build-machine (name "a") (user "u") (systems '("x86_64-linux"))
                              (host-key (call-with-input-file "/srv/machines/key.pub" get-string-all)))))
