"""``python -m openfl_like.cli``: how daemons start their children."""

from openfl_like.cli.main import main

main()
