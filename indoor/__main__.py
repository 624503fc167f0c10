"""`python -m indoor` is `indoor`."""

import sys

from indoor.cli import main

sys.exit(main())
