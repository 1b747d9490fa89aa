(use-modules (no such module))
(list)
