"""Watches the results of queries that DuckDB runs on a database, or on files in place.

The only package that knows DuckDB. It only looks: one statement that returns rows, on a database
that is opened for reading.
"""
