"""Benchmarks. `python -m bench [name ...]` runs them; ours must agree with a reference before it is timed."""
