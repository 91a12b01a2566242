"""Azure Blob Storage and Google Cloud Storage, listed through obstore.

A place is opened in `azure` or `gcs`; all else is the same for both. The one limit of obstore that
shows (it changes some keys, and refuses to list beside others) is met in `spelling` and `failures`:
such a key is an error that names it, never left out and never taken for another one.
"""

from flowproject.sources.containers.azure import AzureSource
from flowproject.sources.containers.gcs import GcsSource

__all__ = ["AzureSource", "GcsSource"]
