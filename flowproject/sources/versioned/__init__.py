"""Watches tables that know their version: Delta Lake's and Apache Iceberg's.

A look asks which version is there, and reads only rows that may have moved: whether one changed is
decided by comparing it with what it was. `delta` and `iceberg` know their library and its log.
"""
