"""Code that cannot be imported."""

from openfl_like.frameworks.numpy import NumpyLoader


class NoData(Exception):  # noqa: N818 (as submitted code may call its own)
    """An exception of a workspace."""


class Loader(NumpyLoader):
    """What the plan names; a plan that named nothing would be refused before it was sent."""


raise NoData("nothing to import; site 'x' refused: \"no\"")
