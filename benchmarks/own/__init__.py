"""How flowproject does it: one script for each, run and timed as the peers' are."""
