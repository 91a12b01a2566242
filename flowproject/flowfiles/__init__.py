"""Describes a project's flow files: schedule, triggers, parameters, project and branch.

Metaflow itself resolves them (configs, mutators, deploy-time functions), in a child process per
file. Nothing here runs a flow.
"""

from flowproject.flowfiles.find import (
    ask_child,
    describe_flow,
    describe_flows,
    file_of,
    find_flow_files,
    who_looks,
)
from flowproject.flowfiles.model import Cron, Dependency, FlowFile, FlowParameter, FlowStep

__all__ = [
    "Cron",
    "Dependency",
    "FlowFile",
    "FlowParameter",
    "FlowStep",
    "ask_child",
    "describe_flow",
    "describe_flows",
    "file_of",
    "find_flow_files",
    "who_looks",
]
