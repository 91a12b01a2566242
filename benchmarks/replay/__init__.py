"""A bucket of millions of made-up objects, listed as S3 lists it, by a process of its own.

For figures and tests in which the server must cost next to nothing: pages are cut out of one
buffer that was rendered beforehand. Requests are counted, each may take a while, and the objects
change when told to. There are no contents, no writes through S3 and no checks of signatures.
"""

from benchmarks.replay.client import Counts, Replay
from benchmarks.replay.mutations import Mutated
from benchmarks.replay.rows import PREFIX
from benchmarks.replay.server import BUCKET

__all__ = ["BUCKET", "PREFIX", "Counts", "Mutated", "Replay"]
