;; Builds derivations that need no package: guix repl -- program.scm NAME SCRIPT KEY=VALUE...
;; The builder is a busybox that is a source. Prints the outputs, or how the build failed.
(use-modules (guix store) (guix derivations) (guix base16)
             (ice-9 match) (srfi srfi-1) (srfi srfi-34))

(define arguments (cdr (command-line)))
(define name (first arguments))
(define script (second arguments))

(define (option key default)
  (let ((start (string-append key "=")))
    (match (find (lambda (argument) (string-prefix? start argument)) (cddr arguments))
      (#f default)
      (text (string-drop text (string-length start))))))

(define (words text)
  (string-tokenize text (char-set-complement (char-set #\,))))

(define (number key default)
  (string->number (option key default)))

(define (source store file)
  (add-to-store store (basename file) #t "sha256" file))

(define (make store name inputs)
  (let* ((busybox (source store "/opt/busybox"))
         (sources (map (lambda (file) (source store file)) (words (option "sources" ""))))
         (shell (string-append (source store "/opt/shell") "/bin/sh"))
         (hash (option "sha256" #f))
         (features (option "features" #f)))
    (apply derivation store name shell (list "-c" script)
           #:sources (cons* (dirname (dirname shell)) busybox sources)
           #:inputs (map (lambda (drv) (derivation-input drv '("out"))) inputs)
           #:outputs (words (option "outputs" "out"))
           #:system (option "system" "x86_64-linux")
           #:env-vars `(("PATH" . ,(dirname shell))
                        ("sources" . ,(string-join sources " "))
                        ("inputs" . ,(string-join (map derivation->output-path inputs) " "))
                        ,@(if features `(("requiredSystemFeatures" . ,features)) '()))
           (if hash
               (list #:hash-algo 'sha256 #:hash (base16-string->bytevector hash)
                     #:recursive? (string=? (option "recursive" "no") "yes"))
               '()))))

(define (chain store count)
  (let loop ((index 1) (drvs '()))
    (if (> index count)
        drvs
        (loop (+ index 1)
              (cons (make store (string-append name "-" (number->string index))
                          (if (null? drvs) '() (list (first drvs))))
                    drvs)))))

(with-store store
  (set-build-options store
                     #:offload? (string=? (option "offload" "yes") "yes")
                     #:use-substitutes? #f
                     #:print-build-trace (string=? (option "trace" "yes") "yes")
                     #:max-silent-time (number "silence" "3600")
                     #:timeout (number "timeout" "7200")
                     #:keep-going? #t)
  (let ((drvs (match (number "parallel" "0")
                (0 (list (first (chain store (number "chain" "1")))))
                (count (map (lambda (index)
                              (make store (string-append name "-" (number->string index)) '()))
                            (iota count))))))
    (guard (c ((store-protocol-error? c)
               (format #t "FAILED ~a ~a~%" (store-protocol-error-status c)
                       (store-protocol-error-message c))))
      (build-derivations store drvs))
    (for-each (lambda (drv)
                (format #t "DRV ~a~%" (derivation-file-name drv))
                (for-each (match-lambda
                            ((output . path)
                             (format #t "~a ~a ~a~%"
                                     (if (valid-path? store path) "OUT" "MISSING") output path)))
                          (derivation->output-paths drv)))
              drvs)))
