package main

import "syscall"

// zeroSignal asks whether a process exists without touching it.
const zeroSignal = syscall.Signal(0)
