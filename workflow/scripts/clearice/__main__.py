"""`python -m clearice`: the command without an installed script."""

from clearice.command.main import main

main()
