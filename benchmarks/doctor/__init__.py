"""`ddtasnet-bench --doctor`: does each runtime work here, is the machine fit to be measured, and what to do if not."""
