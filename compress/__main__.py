"""Run the command line by ``python -m compress``."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, which may be a stranger's checkpoint with a numpy.py in it

from compress.cli.main import main

if __name__ == "__main__":
    main()
