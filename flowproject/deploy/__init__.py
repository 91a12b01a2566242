"""Deploys git branches and removes them: what a branch is called, what goes where, who is told.

Belongs here: git, the CI it runs in, the cluster's objects, plan and apply. Does not belong here:
what a flow is, whether publishers and listeners fit, anything of the local loop.
"""
