"""The local loop: event bus, scheduler and launcher for one machine.

Nothing is imported here, because every step of a launched run imports `triggered` from it.
"""
