"""Measurements, each beside its own yardstick in the same run: `python -m bench --help`, docs/benchmarks.md."""
