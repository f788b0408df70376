"""Conditions that this machine does not have: a line on which every byte is late, and a disk that takes its time.

Nothing is replaced in what is measured. The line is `FaultProxy`, between the sites and their Aggregator; the disk is
the failpoints behind every sync of a round, at which the thread that has synced sleeps besides.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from openfl_like.failpoints import SWITCH
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.faulty_federation import PROXIED_HOST, free_block
from openfl_like.testing.faults.proxy import FaultProxy, Faults

SYNCS = ("aggregator.publish.synced", "aggregator.version.after")
"""Failpoints right behind every sync of a round: of a file or its name, and of the database."""
PORTS = 2  # an Aggregator's, for messages and for data


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what an experiment runs.

    Attributes:
        trip_ms: Milliseconds that a byte and its answer are under way between a site and its Aggregator, besides what
            this machine takes for it.
        sync_ms: Milliseconds that every sync of the Aggregator takes, besides what this disk takes for it.
    """

    trip_ms: int = 0
    sync_ms: int = 0

    @property
    def usual(self) -> bool:
        """Whether they are those of this machine."""
        return not (self.trip_ms or self.sync_ms)

    def __str__(self) -> str:
        trip = f", {self.trip_ms} ms there and back" if self.trip_ms else ""
        return trip + (f", a sync {self.sync_ms} ms" if self.sync_ms else "")

    @property
    def environment(self) -> Mapping[str, str]:
        """What the processes get in their environment."""
        if not self.sync_ms:
            return {}
        return {SWITCH: ";".join(f"{point}=delay:{self.sync_ms}@1+" for point in SYNCS)}

    @asynccontextmanager
    async def around(self, federation: LocalFederation) -> AsyncIterator[LocalFederation]:
        """Have a federation work under them while the block runs; it must not have been started yet."""
        federation.environment = {**federation.environment, **self.environment}
        async with AsyncExitStack() as stack:
            if self.trip_ms:
                ports = free_block(PORTS)
                federation.aggregator_host = PROXIED_HOST
                federation.aggregator_ports = f"{ports[0]}-{ports[-1]}"
                for port in ports:
                    line = FaultProxy(f"127.0.0.1:{port}", listen=f"{PROXIED_HOST}:{port}")
                    await stack.enter_async_context(line)
                    await line.apply(Faults(latency_s=self.trip_ms / 2000))
            yield await stack.enter_async_context(federation)


USUAL = Conditions()
