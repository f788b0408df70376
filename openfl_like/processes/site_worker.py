"""A worker for many sites of a simulation: it is given tasks of whichever, several at once, and confines itself not.

It keeps model and data of the sites that have worked last. As a program it reads a line of JSON for each `Batch` from a
pipe, and writes a line of JSON with what came of it to another one; the updates that are in no file follow that line.
"""

import gc
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from openfl_like.data.made_sites import make_sites
from openfl_like.data.shard import ShardDescriptor, build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import FederationError, UsageError
from openfl_like.federation.components import build_encoding
from openfl_like.federation.task import Assignment, Phase
from openfl_like.frameworks.perform import Performer, UpdateInMemory
from openfl_like.frameworks.shared_runner import ComparedPerformer, LoadedSites, SitePerformers
from openfl_like.plan.digest import thaw
from openfl_like.processes.batch import MOST_BYTES, Answer, Batch, Setting, SiteOrder
from openfl_like.processes.worker import explain, fields_of, own_channel, start_as_child
from openfl_like.store.site_files import algorithm_state


class SiteWorker:
    """Carries out orders in this process.

    Args:
        place: Where it is, for messages.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._sites: _Sites | None = None

    def answers(self, batch: Batch) -> list[Answer]:
        """Carry out orders; errors of the submitted code or of a shard become answers, too."""
        if self._sites is None or self._sites.setting != batch.setting:
            if not Path(batch.setting.plan).exists():
                told = f"{self._place} does not see {batch.setting.plan}"
                cure = "name a --directory on a file system that all hosts share"
                return [_refused(UsageError(f"{told} ({cure})"))] * len(batch.orders)
            self._sites = _Sites(batch.setting)
        with self._sites.in_a_row(batch.orders):
            return [self._sites.answer(order) for order in batch.orders]


def _refused(error: FederationError) -> Answer:
    return Answer({"error": {"code": error.code, "reason": error.message}})


class _Sites:
    """What is loaded of the sites of one simulation."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        plan, workspace = thaw(Path(setting.plan).read_bytes()), Path(setting.workspace)
        self._plan, self._workspace = plan, workspace
        self._performers = SitePerformers(lambda shard, state: Performer(plan, shard, workspace, setting.device, state))
        self._loaded: LoadedSites[Performer | ComparedPerformer] = LoadedSites(in_a_row=self._performers.in_a_row)
        self._plain = build_encoding(plan) is None
        self._made: Mapping[str, ShardDescriptor] | None = None

    def in_a_row(self, orders: Sequence[SiteOrder]) -> AbstractContextManager[None]:
        """Return what orders are carried out in that follow one another; what a site loads is loaded outside of it."""
        loaded = all(order.site in self._loaded for order in orders)
        return self._loaded.in_a_row() if loaded else nullcontext()

    def answer(self, order: SiteOrder) -> Answer:
        """Carry out an order."""
        try:
            performer = self._loaded.of(order.site, lambda: self._load(order))
        except (FederationError, OSError) as error:
            return Answer({"error": explain(error, "loading the workspace")})
        if order.assignment is None:
            gc.freeze()  # what was imported stays: the collector need not look through it again and again
            return Answer({"ready": {}})
        try:
            os.chdir(self._folder(order.site))
            return self._performed(performer, order, order.assignment)
        except (FederationError, OSError) as error:
            return Answer({"error": explain(error, "")})

    def _folder(self, site: str) -> Path:
        return Path(self.setting.directory, site)

    def _load(self, order: SiteOrder) -> Performer | ComparedPerformer:
        folder = self._folder(order.site)
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        return self._performers.make(self._shard(order), algorithm_state(folder))

    def _shard(self, order: SiteOrder) -> ShardDescriptor:
        if order.shard:
            path = Path(order.shard)
            return build_shard(load_shard_config(path), path.parent)
        if self._made is None:
            made = make_sites(self._plan, self._workspace)
            if made is None:
                raise UsageError("the site has no shard.yaml, and the plan does not have it made", place=order.site)
            self._made = made.shards
        return self._made[order.site]

    def _performed(self, performer: Performer | ComparedPerformer, order: SiteOrder, assignment: Assignment) -> Answer:
        model = self._loaded.model(assignment.model, Path(order.model)) if order.model else None
        if model is not None and not self._performers.shared:
            self._loaded.bound(model.size_bytes)
        small = model is not None and self._plain and model.size_bytes <= MOST_BYTES
        out = UpdateInMemory() if small and assignment.phase is Phase.TRAIN else Path(order.out)
        update = performer.perform(assignment, model, out)
        content = out.content if isinstance(out, UpdateInMemory) else None
        return Answer({"update": fields_of(update)}, None if content is None else content.to_bytes())


def serve(orders: Iterable[bytes], answers: BinaryIO) -> None:
    """Answer batches until the parent closes its end."""
    worker = SiteWorker("the worker process")
    for line in orders:
        order = json.loads(line)
        given = worker.answers(Batch.from_json(order))
        sizes = [None if answer.content is None else len(answer.content) for answer in given]
        told = {"number": order["number"], "answers": [answer.told for answer in given], "sizes": sizes}
        answers.write(json.dumps(told).encode() + b"\n")
        answers.writelines(answer.content for answer in given if answer.content is not None)
        answers.flush()


def main() -> None:
    """Run the worker as a program."""
    start_as_child()
    orders, answers = own_channel()
    serve(orders, answers)


if __name__ == "__main__":
    main()
