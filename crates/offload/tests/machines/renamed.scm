(use-modules ((srfi srfi-1) #:prefix s:))
(list)
