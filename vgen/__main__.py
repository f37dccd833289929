"""`python -m vgen`, which is how torchrun starts it."""

from vgen.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
