"""Benchmarks. `python -m bench [name ...]` runs them; each first asserts agreement with a reference, then times."""
