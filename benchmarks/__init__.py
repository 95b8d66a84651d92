"""Speed, measured against a bare loop: `make bench` (docs/benchmarks.md)."""
