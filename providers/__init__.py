"""Adapters to video meeting providers: one file per vendor, one list in `registry`."""
