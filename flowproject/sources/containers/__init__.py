"""Watches Azure Blob Storage and Google Cloud Storage, listed through obstore.

`source` opens a container of either; all else is the same for both. The one limit of obstore that
shows (it changes some keys, and refuses to list beside others) is met in `container` and
`failures`: such a key is an error that names it, never left out and never taken for another one.
"""
