(list)
(define machines (list (build-machine (name "a"))))
