"""The command line, by ``python -m autocompress.cli``."""

from autocompress.cli.app import main

if __name__ == "__main__":
    main()
