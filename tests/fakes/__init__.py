"""Vendors that run on loopback, as strict as their facts allow."""
