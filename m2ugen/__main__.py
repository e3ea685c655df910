"""``python -m m2ugen``."""

from m2ugen.cli import main

main()
