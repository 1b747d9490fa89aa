(list (build-machine (name "a") (user "\x75\u00e9\tz\\\"") (host-key "ssh-ed25519
AAAA \
  b") (systems '("é" "")) (private-key "/\a\0\U01F600")))
