"""`python -m rlhf`."""

from rlhf.cli.main import main

main()
