(list "a
