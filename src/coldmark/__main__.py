"""`python -m coldmark` is `coldmark`."""

from coldmark.cli.main import main

if __name__ == "__main__":
    main()
