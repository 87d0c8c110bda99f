"""Everything that happens in production, at once."""
