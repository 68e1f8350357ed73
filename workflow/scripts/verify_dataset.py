"""`clearice verify`, for a checkout whose console command is not on the path."""

from clearice.bridge import run_command
from clearice.command.verify import main

if __name__ == "__main__":
    run_command(main)
