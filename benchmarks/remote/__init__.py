"""The benchmark on a board that ssh reaches: one login, nothing installed for good, nothing left behind."""
