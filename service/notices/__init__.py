"""Notices: people are told what needs them, by mail and by a signed webhook, once and without a flood."""
