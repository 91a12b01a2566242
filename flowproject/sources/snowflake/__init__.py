"""Watches the results of queries that Snowflake runs.

The only package that knows Snowflake's connector. It only looks: one statement that reads, under a
time limit that the server keeps, too.
"""
