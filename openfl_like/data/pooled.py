"""Several shards as one: what training would see if the data could be brought together."""

from collections.abc import Sequence

from openfl_like.data.shard import DataSchema, Dataset, ShardDescriptor
from openfl_like.data.split import concatenate
from openfl_like.errors import ShardError


class PooledShard:
    """The union of shards with the same shapes, in the order given.

    Args:
        parts: At least one shard.

    Raises:
        ShardError: If there is none, or they do not fit together.
    """

    def __init__(self, parts: Sequence[ShardDescriptor]) -> None:
        if not parts:
            raise ShardError("there is no shard to pool")
        shapes = {(part.sample_shape, part.target_shape) for part in parts}
        if len(shapes) > 1:
            raise ShardError(f"shards of different shapes cannot be pooled: {sorted(shapes)}")
        self._parts = tuple(parts)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._parts[0].sample_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target."""
        return self._parts[0].target_shape

    @property
    def dataset_description(self) -> str:
        """What the first one says, and how many there are."""
        return f"{len(self._parts)} shards together, the first: {self._parts[0].dataset_description}"

    @property
    def schema(self) -> DataSchema:
        """The schema that covers all parts; counts are summed."""
        schemas = [part.schema for part in self._parts]
        return DataSchema(
            sample_dtype=schemas[0].sample_dtype,
            target_dtype=schemas[0].target_dtype,
            sample_range=_cover([schema.sample_range for schema in schemas]),
            target_range=_cover([schema.target_range for schema in schemas]),
            classes=max(schema.classes for schema in schemas),
            counts={kind: sum(schema.counts[kind] for schema in schemas) for kind in schemas[0].counts},
        )

    def get_dataset(self, kind: str) -> Dataset:
        """Return the samples of a kind of all parts."""
        return concatenate([part.get_dataset(kind) for part in self._parts])


def _cover(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)
