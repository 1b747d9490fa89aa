//! Store derivations (.drv files): parse, print, and what they demand of a machine.
