"""Where `vello-meetings` and `python -m service` begin."""

import gc
import sys


def main() -> int:
    """Run the command line; its modules are loaded without a look for garbage: they make none, and looks are slow."""
    gc.disable()
    from service import cli

    gc.freeze()
    gc.enable()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
