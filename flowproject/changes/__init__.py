"""Describes what a source looks like, how two looks differ, and what is recorded of it.

Pure: plain values in, plain values out. Nothing here reads a clock, a file or a network.
"""
