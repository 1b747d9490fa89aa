#!/usr/bin/guile
!#
(list)
