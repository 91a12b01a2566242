"""Argo's objects on an API server, over HTTP: the only way in which controllers know a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["Api"]

_PLACE: Final = {"group": "argoproj.io", "version": "v1alpha1"}


class Api:
    """Objects of the group argoproj.io, on the server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import client, config

        self._objects = client.CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))

    def list(self, plural: str) -> list[dict[str, Any]]:
        """All objects of a kind, in every namespace."""
        found = self._objects.list_cluster_custom_object(**_PLACE, plural=plural)
        return list(found["items"] or ())

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        """One object; the client's `ApiException` if there is none."""
        found: dict[str, Any] = self._objects.get_namespaced_custom_object(
            **_PLACE, plural=plural, namespace=namespace, name=name
        )
        return found

    def create(self, plural: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object; what the server made of it."""
        made: dict[str, Any] = self._objects.create_namespaced_custom_object(
            **_PLACE, plural=plural, namespace=namespace, body=body
        )
        return made

    def patch(self, plural: str, namespace: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object."""
        self._objects.patch_namespaced_custom_object(
            **_PLACE, plural=plural, namespace=namespace, name=name, body=change
        )
