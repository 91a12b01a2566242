"""Watches the results of queries that PostgreSQL runs.

The only package that knows Arrow's driver for it. It only looks: in a transaction that reads, under
a time limit that the server keeps, too.
"""
