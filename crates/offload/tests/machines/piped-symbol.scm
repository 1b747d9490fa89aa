(define |a b| 1)
(list)
