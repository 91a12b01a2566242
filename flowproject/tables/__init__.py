"""Keeps tables that outlive a tick: items and differences as Parquet, large ones in spans.

The one home of pyarrow, which every function that needs it imports itself: a tick that finds
nothing changed never does. What a source is, and where files are kept, is decided elsewhere.
"""
