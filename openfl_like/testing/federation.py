"""A federation without processes, network and data, for tests of what users build on `openfl_like.api`."""

from collections.abc import Mapping
from pathlib import Path

from openfl_like.api.federation import Federation
from openfl_like.pki.roles import Role
from openfl_like.runtimes.local import Performs
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.director import FakeDirector


class FakeFederation(Federation):
    """An `api.Federation` whose Director is a `FakeDirector`; use it as a context manager.

    Args:
        directory: Where keys and experiments are kept.
        sites: Site -> what performs its tasks, such as a `FakePerformer`.
        user: Who is connected.

    Attributes:
        fake: The Director, for what a test wants to set.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from openfl_like.testing.performers import FakePerformer
        >>> with TemporaryDirectory() as directory:
        ...     with FakeFederation(Path(directory), {"bern": FakePerformer()}) as federation:
        ...         [envoy.name for envoy in federation.envoys()]
        ['bern']
    """

    def __init__(self, directory: Path, sites: Mapping[str, Performs], user: str = "ada") -> None:
        self.fake = FakeDirector(directory / "director", sites)
        pki = ThrowAwayFederation(directory / "pki")
        certificates = pki.folder(pki.credentials(Role.USER, user))
        super().__init__("localhost:50050", certificates, self.fake.connection)

    def close(self) -> None:
        """End the connection, and what is open of the experiments."""
        super().close()
        self.fake.close()
