;;; Evaluates a machine file as `guix offload` does, and prints the machines as forms in which there is nothing left to
;;; evaluate: (list (build-machine (name "..") ..) ..). All that the file itself prints goes to standard error.

(use-modules (guix scripts offload) (ice-9 match))

(define (fields record)
  (let ((type (struct-vtable record)))
    (map (lambda (field)
           (list field ((record-accessor type field) record)))
         (record-type-fields type))))

;; A location becomes (FILE LINE COLUMN); what cannot be read again, a procedure for example, a symbol: no field is one.
(define (readable value)
  (cond ((or (string? value) (number? value) (boolean? value) (symbol? value) (null? value)) value)
        ((pair? value) (cons (readable (car value)) (readable (cdr value))))
        ((struct? value) (map (compose readable cadr) (fields value)))
        (else 'unreadable)))

(define (print-field field value)
  (format #t "~%  (~a ~a~s)" field
          (if (or (pair? value) (null? value) (symbol? value)) "'" "")
          value))

(define (print value)
  (cond ((build-machine? value)
         (display "\n (build-machine")
         (for-each (match-lambda
                     ((field value) (print-field field (readable value))))
                   (fields value))
         (display ")"))
        (else (display "\n #f"))))

(define (evaluate file)
  (let ((module (make-fresh-user-module)))
    (module-use! module (resolve-interface '(guix scripts offload)))
    (save-module-excursion
     (lambda ()
       (set-current-module module)
       (parameterize ((current-output-port (current-error-port)))
         (primitive-load file))))))

(set-port-encoding! (current-output-port) "UTF-8")
(catch #t
  (lambda ()
    (match (last-pair (command-line))
      ((file)
       (match (evaluate file)
         ((? list? values)
          (display "(list")
          (for-each print values)
          (display ")\n"))
         (_ (display "#f\n"))))))
  (lambda (key . arguments)
    (print-exception (current-error-port) #f key arguments)
    (primitive-exit 1)))
