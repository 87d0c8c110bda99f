"""Tests: one file per source file, real servers on loopback addresses."""
