"""Code that cannot be imported."""


class NoData(Exception):  # noqa: N818 (as submitted code may call its own)
    """An exception of a workspace."""


raise NoData("nothing to import; site 'x' refused: \"no\"")
