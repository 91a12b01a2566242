"""Watches objects in S3: how a bucket is reached botocore knows, all else is done here.

`source` is what a sensor sees. `lister` makes a table of many `pages`: `work_queue` shares out the
keys among workers, and `comparer` keeps unread what is the same. `bucket` asks and asks again, over
`http_client`; `access` says where and as whom.
"""
