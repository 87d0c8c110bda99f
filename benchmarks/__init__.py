"""Measures the service against a bare server in one run; see README.md."""
