(use-modules (guix scripts offload))

(define user "offload")
(define key-dir "/etc/guix/keys")

(define x86
  (build-machine
   (name "one")
   (systems '("x86_64-linux" "i686-linux"))
   (user user)
   (host-key "ssh-ed25519 AAAA one")
   (private-key (string-append key-dir "/one"))
   (speed 3.5)
   (features '("kvm"))))

(define two (build-machine
             (inherit x86)
             (name "two")
             (host-key "ssh-ed25519 BBBB")
             (features (append '("benchmark") (list "big-parallel")))))

(list x86 two (build-machine (inherit two) (name "three") (speed 1)))
