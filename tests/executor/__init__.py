"""A stand-in for the machines behind the Kubernetes API: Argo Workflows, Argo Events, a kubelet.

`controller` runs Workflow objects that it finds on an API server, over HTTP; `events` makes them
from Sensors and posted events, where no real Argo Events does. `pods` and `images` are the machine
that a container runs on; `templating` and `expressions` are the texts in between. What it covers
and what it does not: docs/executor.md. Nothing here knows flowproject.
"""
