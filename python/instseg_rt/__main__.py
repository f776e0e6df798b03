"""`python -m instseg_rt` is the command `instseg`."""

import sys

from instseg_rt.cli import main

if __name__ == "__main__":
    sys.exit(main())
