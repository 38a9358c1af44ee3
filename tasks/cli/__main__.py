"""`python -m tasks.cli`, the same as the console script `modnet`."""

import sys

from tasks.cli import main

sys.exit(main())
