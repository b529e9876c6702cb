"""`python -m modelgate_serving …` is `modelgate …`."""

import os
import sys

from .binary import find
from .errors import CannotServe


def main() -> None:
    """Becomes the gateway's binary."""
    try:
        path = find()
    except CannotServe as error:
        sys.exit(f"error: {error}")
    os.execv(path, [str(path), *sys.argv[1:]])


if __name__ == "__main__":
    main()
