"""Wraps all that is used of Metaflow beyond its public names: nobody else imports a submodule.

Public is what `from metaflow import ...` and `from metaflow.cards import ...` give. A release may
change the rest; tests/contract/test_metaflow_internals.py says in a sentence what it changed.
"""
