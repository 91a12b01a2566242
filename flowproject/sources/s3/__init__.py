"""Objects in S3: we list, botocore signs, our sockets carry it.

`transport` asks, `page` understands one answer, `lister` makes a table of many: `units` shares out
the keys among workers (`crew`), `judge` keeps what is the same. `source` is what a sensor sees.
"""

from flowproject.sources.s3.source import S3Source

__all__ = ["S3Source"]
