"""Tests of the adapters; `contract` holds the laws all of them inherit."""
