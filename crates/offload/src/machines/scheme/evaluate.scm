;;; Evaluates a machine file as `guix offload` does, and prints the machines as forms in which there is nothing left to
;;; evaluate: (list (build-machine (name "..") ..) ..). All that the file itself prints goes to standard error.

(use-modules (guix scripts offload) (ice-9 match))

(define (fields record)
  (let ((type (struct-vtable record)))
    (map (lambda (field)
           (list field ((record-accessor type field) record)))
         (record-type-fields type))))

(define (location? field value)
  (and (eq? field 'location) (struct? value)))

(define (print-field field value)
  (format #t "~%  (~a ~a~s)" field
          (if (or (pair? value) (null? value) (symbol? value) (location? field value)) "'" "")
          (if (location? field value) (map cadr (fields value)) value)))

(define (print value)
  (cond ((build-machine? value)
         (display "\n (build-machine")
         (for-each (lambda (field) (apply print-field field)) (fields value))
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
