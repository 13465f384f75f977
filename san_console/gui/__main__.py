"""`python -m san_console.gui [test://demo]`."""

import sys

from san_console.gui.app import run_window

sys.exit(run_window(sys.argv[1:]))
