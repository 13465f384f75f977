"""`python -m san_console` is `san-console`."""

import sys

from san_console.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
