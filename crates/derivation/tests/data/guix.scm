;; Derivations of every kind that Guix makes; `guix repl guix.scm` with a daemon at hand. Inputs are written sorted: the daemon refuses a
;; derivation whose wanted outputs are not.
(use-modules (guix) (guix derivations) (guix store) (gcrypt hash) (rnrs bytevectors) (srfi srfi-1))
(with-store store
  (set-build-options store #:offload? #f #:use-substitutes? #f)
  (let* ((bb (add-text-to-store store "builder" "not really a program\n"))
         (src (add-text-to-store store "src" "text \"quoted\"\n" (list bb)))
         (plain (derivation store "plain" bb '("-c" "tab\tnewline\nreturn\rquote\"backslash\\") #:sources (list bb src)
                  #:env-vars '(("text" . "plain ASCII") ("a" . "1") ("Z" . "") ("requiredSystemFeatures" . "kvm big-parallel"))))
         (many (derivation store "many-1.0" bb '() #:sources (list bb) #:outputs '("out" "doc" "bin") #:inputs (list (derivation-input plain '("out"))) #:local-build? #t))
         (flat (derivation store "flat.tar.gz" bb '() #:sources (list bb) #:hash (sha256 (string->utf8 "x")) #:hash-algo 'sha256 #:recursive? #f #:leaked-env-vars '("http_proxy" "COLUMNS")))
         (tree (derivation store "tree" bb '() #:inputs (list (derivation-input plain '("out"))) #:sources (list bb) #:hash (bytevector-hash (string->utf8 "x") (hash-algorithm sha512)) #:hash-algo 'sha512 #:recursive? #t))
         (tree2 (derivation store "tree" bb '("other") #:sources (list bb) #:hash (bytevector-hash (string->utf8 "x") (hash-algorithm sha512)) #:hash-algo 'sha512 #:recursive? #t))
         (uses (derivation store "uses" bb '() #:sources (list bb src) #:inputs (list (derivation-input many '("bin" "doc")) (derivation-input flat '("out")) (derivation-input tree '("out")) (derivation-input tree2 '("out")) (derivation-input plain '("out"))) #:substitutable? #f)))
    (for-each (lambda (d) (format #t "~a ~s~%" (derivation-file-name d) (derivation->output-paths d))) (list plain many flat tree tree2 uses))
    (let ((s3 (derivation store "sha3" bb '() #:sources (list bb) #:hash (bytevector-hash (string->utf8 "x") (hash-algorithm sha3-256)) #:hash-algo 'sha3-256 #:recursive? #f)))
      (format #t "~a~%" (derivation-file-name s3)))))
