"""See `ml.datasets.cli`."""

import sys

from ml.datasets.cli import main

sys.exit(main())
