"""Writes projects: what `flowproject init` gives, and what `flowproject upgrade` changes in it.

Here stand the templates and what is done with them. Nothing here knows of commands and terminals,
and nothing of a project that runs.
"""
