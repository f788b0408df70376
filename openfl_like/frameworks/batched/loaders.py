"""Data loaders of many sites in one process, and the one that stands for none of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from openfl_like import registry
from openfl_like.frameworks.runner import DataLoader, Shard
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.section import Component

_OURS = "openfl_like."


class UnseenLoader:
    """Stands for the data of a site where none may be looked at: what depends on it is not the same at each site.

    Attributes:
        seen: What was asked for nevertheless.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> object:
        """Refuse."""
        self.seen.append(name)
        raise AttributeError(f"'{name}' of a data loader was asked for where no site's data may be looked at")


class ScopedLoader:
    """A data loader of the workspace, called while its own modules are importable.

    Args:
        part: What the plan says of it.
        shard: The site's data.
        workspace: Where its code is; what a module of it remembers is this site's alone.
    """

    def __init__(self, part: Component, shard: Shard, workspace: Path) -> None:
        self._scope = ModuleScope(workspace)
        with self._scope.active():
            self._loader = _factory(part)(shard, **part.settings)

    @property
    def num_train(self) -> int:
        """See `runner.DataLoader`."""
        with self._scope.active():
            return self._loader.num_train

    @property
    def num_validate(self) -> int:
        """See `runner.DataLoader`."""
        with self._scope.active():
            return self._loader.num_validate

    def train_batches(self, seed: int, epoch: int) -> Iterable[tuple[object, object]]:
        """See `runner.DataLoader`."""
        with self._scope.active():
            return list(self._loader.train_batches(seed, epoch))

    def validate_batches(self) -> Iterable[tuple[object, object]]:
        """See `runner.DataLoader`."""
        with self._scope.active():
            return list(self._loader.validate_batches())


def site_loader(part: Component, workspace: Path) -> Callable[[Shard], object]:
    """Return what makes the data loader of a site, in a scope of its own unless it is the platform's."""
    factory = _factory(part)
    if getattr(factory, "__module__", "").startswith(_OURS):
        return lambda shard: factory(shard, **part.settings)
    return lambda shard: ScopedLoader(part, shard, workspace)


def _factory(part: Component) -> Callable[..., DataLoader[object]]:
    return cast("Callable[..., DataLoader[object]]", registry.resolve("data_loader", part.template))
