"""Queries that DuckDB runs on a database file, or in place on CSV, Parquet and JSON files.

The only package that knows DuckDB. It only looks: one statement that returns rows, on a database
that is opened for reading.
"""
