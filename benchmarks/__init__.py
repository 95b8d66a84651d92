"""How fast it is, measured beside a bare loop: `make bench` (docs/benchmarks.md)."""
