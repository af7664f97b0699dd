"""`python -m sdctl`."""

from sdctl.cli import main

if __name__ == "__main__":
    main()
