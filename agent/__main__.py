"""The command ``exchange-agent``."""

from agent.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
