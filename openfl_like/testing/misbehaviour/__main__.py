"""``python -m openfl_like.testing.misbehaviour``."""

from openfl_like.testing.misbehaviour.trials import main

if __name__ == "__main__":
    raise SystemExit(main())
