"""The command line: parses, calls the public API, prints. Heavy libraries load with their command."""

from vergence.cli.main import main, run

__all__ = ["main", "run"]
