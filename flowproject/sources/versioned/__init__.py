"""Watches tables that know their version: Delta Lake's and Apache Iceberg's.

A look asks which version is there, and reads rows only if it moved, of the files that moved.
`delta` and `iceberg` know their library and its log; `versions` makes observations of what either
says, `locations` says where a table is and who may read it. Rows that moved are candidates: whether
one changed is decided by comparing it with what it was.
"""
