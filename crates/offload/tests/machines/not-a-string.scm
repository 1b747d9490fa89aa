(list (string-append "a" 1))
