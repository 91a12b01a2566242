"""The fixtures of the tests of deployment, and a project of its own on the real cluster."""

from tests.argo.shop import shop
from tests.deploy.conftest import argo, cluster, environment, new_cluster, new_repository, sources

__all__ = ["argo", "cluster", "environment", "new_cluster", "new_repository", "shop", "sources"]
