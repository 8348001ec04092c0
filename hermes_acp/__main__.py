"""The program `hermes-editor`: guards standard output before anything else is imported."""

from __future__ import annotations

import sys

from hermes_acp import shim


def main() -> int:
    """Run the command line; the result is the exit code."""
    return shim.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
