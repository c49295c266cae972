"""`python -m fasttrain` and the `fasttrain` command."""

from fasttrain.cli.app import main

if __name__ == "__main__":
    main()
