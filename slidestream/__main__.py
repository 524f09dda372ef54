"""`python -m slidestream` is the same as the `slidestream` command."""

from .cli.app import main

if __name__ == "__main__":
    main()
