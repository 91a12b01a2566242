"""Thousands of faults, injected for real, and what became of every change.

Changes are made, ticks and runs live and die, and a ledger that no code under test can reach keeps
what was done. Then the faults end, everybody has time to catch up, and the books are compared.
"""
