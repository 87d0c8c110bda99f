"""`vello-meetings rehearse`: the outages an operator fears, played against a real service, and what people saw."""
