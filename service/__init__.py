"""The service: Vello's events in, working video links out."""
