"""The command line: one thin file per command that parses, calls the pipeline and prints.

Nothing here knows about models or audio; heavy imports happen inside the commands, so that ``m2ugen --help``
answers at once.
"""

from m2ugen.cli.app import main

__all__ = ["main"]
