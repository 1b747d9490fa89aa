(define list append)
(list)
