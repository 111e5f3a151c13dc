"""Measured tables, one module each: ``python -m benchmarks.tokens``. No test depends on their figures."""
