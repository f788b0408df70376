"""``python -m openfl_like`` is ``fx``."""

from openfl_like.cli.main import main

if __name__ == "__main__":
    main()
