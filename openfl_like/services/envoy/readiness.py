"""What waits for the next experiment at a site: a Collaborator with its imports done, and a worker of the last kind."""

import asyncio
import contextlib

from openfl_like.errors import FederationError
from openfl_like.federation.devices.placement import CPU
from openfl_like.frameworks.named import named_frameworks
from openfl_like.plan.digest import thaw
from openfl_like.processes.spare_worker import WarmUp
from openfl_like.processes.standby import Standby
from openfl_like.services.envoy.site_experiment import SiteExperiment
from openfl_like.store.site_files import SiteFiles


class Readiness:
    """Keeps a Collaborator waiting, and its spare worker with what the last experiment imported.

    Args:
        standby: The Collaborator that waits.
        files: Where it is kept what the last experiment imported.
        spare_worker: Whether a worker waits as well.
    """

    def __init__(self, standby: Standby, files: SiteFiles, *, spare_worker: bool) -> None:
        self._standby, self._files, self._spare_worker = standby, files, spare_worker
        self._warm_up = WarmUp()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._warm_up = WarmUp.read(files.warm_up.read_text(encoding="utf-8"))

    def prepare(self) -> None:
        """Start what is to wait, if nothing waits."""
        self._standby.prepare(*([self._warm_up.text()] if self._spare_worker else []))

    async def remember(self, experiment: SiteExperiment) -> None:
        """Keep in mind what an experiment imports: the next one is likely to be of its kind."""
        if not self._spare_worker or experiment.python is not None or experiment.device != CPU:
            return
        with contextlib.suppress(FederationError, OSError, ValueError):  # it is a guess: without it, one waits longer
            plan = thaw(await asyncio.to_thread(experiment.files.received.plan.read_bytes))
            named = await asyncio.to_thread(named_frameworks, plan, experiment.files.workspace)
            self._warm_up = WarmUp.of(named, plan.collaborator.settings.threads)
            self._files.warm_up.write_text(self._warm_up.text(), encoding="utf-8")
