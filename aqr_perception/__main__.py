"""``python -m aqr_perception COMMAND``."""

import sys

from aqr_perception.cli.main import main

sys.exit(main())
