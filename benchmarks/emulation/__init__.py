"""Boards that are not there: aarch64 runtimes under qemu's user-mode emulation, for parity and never for time."""
