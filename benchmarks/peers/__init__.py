"""How others list a prefix: one script for each, as its documentation would have it done.

A script takes the address of the server and how many requests it may have under way at once, and
reports how many objects it found. Those that can ask for only one page after the other ignore the
second.
"""
