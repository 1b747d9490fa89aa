(define a (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems `("x86_64-linux" ,(getenv "HOME")))))
(define b (build-machine (inherit a) (name "b")))
`(,a ,@(list b b) ,(build-machine (inherit b) (name "c")) ,@'())
