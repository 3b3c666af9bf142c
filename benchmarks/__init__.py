"""Per-hop timing of bundles on this machine, each beside the memory-bandwidth floor and the facts it depends on."""
