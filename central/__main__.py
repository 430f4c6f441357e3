"""``exchange-central`` and ``python -m central``."""

from central.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
