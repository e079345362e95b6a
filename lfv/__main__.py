"""`python -m lfv` is the command `lfv`."""

from lfv.cli.main import main

if __name__ == "__main__":
    main()
