"""Run a project's whole loop on one machine: event bus, scheduler, launcher, page.

Nothing is imported here, because every step of a launched run imports `triggered` from it.
"""
