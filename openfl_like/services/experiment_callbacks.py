"""The callbacks of an experiment beside its loop: what they tell of themselves goes into its history."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from openfl_like.events.bus import EventBus
from openfl_like.events.callbacks.host import CallbackHost, CallbackPlace
from openfl_like.events.callbacks.orders import CodeOfCallbacks
from openfl_like.federation.announcements import only
from openfl_like.federation.callback_end import CallbackEnded
from openfl_like.federation.events import CallbackStopped
from openfl_like.plan.schema import Plan
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ExperimentCallbacks:
    """Runs the callbacks of a plan.

    Args:
        plan: Names them.
        files: The experiment's record.
        results: Where they write.
        store: The record, for what is told after the experiment.
        bus: Gives the events.
        code: Where those are that the workspace brings; None: nobody may bring any.
    """

    plan: Plan
    files: ExperimentFiles
    results: Path
    store: ExperimentStore
    bus: EventBus
    code: CodeOfCallbacks | None = None

    async def beside(self, work: Awaitable[Result], post: Callable[[CallbackStopped], None] = lambda _: None) -> Result:
        """Run them beside the experiment, and let them write what there is to write after its end.

        Args:
            work: Drives the experiment to its end.
            post: Is told of one that was ended, while the experiment runs; what it does not pass on any more is added
                to the history at the end.
        """
        if not self.plan.callbacks:
            return await work
        before = len(self._told())
        place = CallbackPlace(self.files.directory.absolute(), self.results.absolute(), self.code)
        host = CallbackHost(
            self.plan.callbacks, place, self.bus, self.store.epoch, lambda ended: post(CallbackStopped(ended))
        )
        host.start()
        try:
            result = await work
            await host.finish()
        finally:
            await host.close()
        told = self._told()[before:]
        for ended in host.ended:
            if ended not in told:
                self.bus.publish([self.store.announce(time.time(), ended)])
        return result

    def _told(self) -> list[CallbackEnded]:
        return only(self.store.events(kinds=(CallbackEnded.kind,)), CallbackEnded)
