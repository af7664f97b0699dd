"""`python -m tests.cluster.control_plane`: find, fetch or build the test cluster's binaries, and say where they are."""

import sys

from tests.cluster.control_plane.binaries import Unavailable, obtain


def main() -> int:
    """0 once both binaries are there."""
    try:
        print(f"kube-apiserver and etcd are in {obtain()}")
    except Unavailable as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


sys.exit(main())
