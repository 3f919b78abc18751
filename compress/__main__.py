"""Run the command line by ``python -m compress``."""

from compress.cli.main import main

if __name__ == "__main__":
    main()
