;; Builds what needs no package, and prints how many seconds its client has waited for it: guix repl -- guix.scm NAME
;; COUNT SCRIPT [FILE]. COUNT builds, one after the other; FILE is an input of each. The builder is a busybox that is a
;; source.
(use-modules (guix store) (guix derivations) (ice-9 match) (srfi srfi-1))

(define (now)
  (let ((time (gettimeofday)))
    (+ (car time) (/ (cdr time) 1e6))))

(match (cdr (command-line))
  ((name count script . files)
   (with-store store
     (set-build-options store #:use-substitutes? #f #:print-build-trace #f)
     (let* ((source (lambda (file) (add-to-store store (basename file) #t "sha256" file)))
            (tools (source "/opt/shell"))
            (inputs (map source files))
            (make (lambda (index)
                    (derivation store (string-append name "-" (number->string index))
                                (string-append tools "/bin/sh") (list "-c" script)
                                #:sources (cons tools inputs)
                                #:env-vars `(("PATH" . ,(string-append tools "/bin"))
                                             ("input" . ,(string-join inputs " "))))))
            (drvs (map make (iota (string->number count))))
            (start (now)))
       (for-each (lambda (drv) (build-derivations store (list drv))) drvs)
       (format #t "~,4f~%" (- (now) start))))))
