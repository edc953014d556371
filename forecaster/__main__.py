"""Run the command line with `python -m forecaster`."""

from forecaster.cli import main

main()
