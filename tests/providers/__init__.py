"""Tests of the adapters; `providers.testing` holds the laws all of them inherit."""
