"""The mathematics of choosing tokens and cells: pure numpy, no I/O."""
