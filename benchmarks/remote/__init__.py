"""The benchmark on a board that ssh reaches: one login, nothing installed for good, nothing left behind.

`place.open_board` makes the board a `Place`, `bench.bench_on` runs the benchmark in any place. Below them: `connection`
asks fixed scripts (the .sh files beside this one) over the user's own ssh, `space` has a folder there, `jobs` runs what
must outlive a connection, `transfer` copies files, `install` makes the light install.

All of it rests on three rules. Scripts may run twice, because an answer can get lost after the work. Work never hangs
on a connection: it is detached, and a lock tells that it still runs. The folder has a name that is known here before
it is made, so it can be removed whatever happened in between; when this side is gone, the board removes it itself.
"""
