"""Time limits fit one another, those that can be set are few, and all of them are in the table."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from openfl_like.api.reconnect import OUTAGE_S
from openfl_like.cli.main import fx
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import PlanError
from openfl_like.plan.schema import GRACE_S, REJOIN_S, Deadline, Plan
from openfl_like.processes import child as spawn
from openfl_like.processes import watchdog as vigil
from openfl_like.services import collaborator
from openfl_like.services.director import aggregator_process
from openfl_like.services.director import envoys as roster
from openfl_like.services.director.settings import MISSED_HEARTBEATS, DirectorFile, check_plan_here
from openfl_like.services.envoy import service as envoy
from openfl_like.wire import channel
from openfl_like.wire.transfer import chunks as transfer

TABLE = Path(__file__).parents[4] / "docs" / "reference" / "settings.md"
MOST = 12
DURATION = re.compile(r"(^|_)(s|ms|seconds|minutes|hours|days|timeout|deadline|period|grace)$")
PERIOD_S = DirectorFile.model_fields["heartbeat_s"].default
PLAN = Plan.model_validate(
    {
        "name": "demo",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}},
    }
)


def durations(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Names every key of a file that is a time."""
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from durations(field.annotation, f"{prefix}{key}.")
        elif DURATION.search(key):
            yield prefix + key


def options(command: click.Command) -> Iterator[str]:
    """Names every option of a command and those below it."""
    yield from (str(parameter.name) for parameter in command.params)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from options(inner)


def test_the_table_has_every_timeout_and_there_are_twelve_at_most() -> None:
    section = TABLE.read_text().partition("## Timeouts\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| ([\w.]+) \|", section, re.MULTILINE)
    found = {(key, "plan") for key in durations(Plan)} | {(key, "director.yaml") for key in durations(DirectorFile)}
    assert set(rows) == found
    assert 0 < len(rows) <= MOST
    assert not list(durations(ShardConfig))
    assert not [name for name in options(fx) if DURATION.search(name)]


def test_a_dead_peer_is_noticed_before_anything_gives_up() -> None:
    assert channel.SILENCE_S <= 20
    assert MISSED_HEARTBEATS * PERIOD_S <= 20
    assert MISSED_HEARTBEATS * PERIOD_S > channel.SILENCE_S > PERIOD_S
    assert vigil.FROZEN_S + vigil.LOOK_S <= 20
    assert channel.UNARY_DEADLINE_S > channel.SILENCE_S
    assert transfer.CHUNK_TIMEOUT_S > 2 * channel.KEEPALIVE_S + channel.PING_TIMEOUT_S
    assert envoy.STALE_SESSION_S > MISSED_HEARTBEATS * PERIOD_S + roster.PROBE_S
    assert roster.PROBE_S < channel.SILENCE_S


def test_who_was_lost_has_the_time_to_come_back() -> None:
    cut_s = 21  # a line that is out for so long costs no experiment
    assert cut_s + channel.SILENCE_S + channel.RECONNECT_CAP_S + channel.HANDSHAKE_S <= REJOIN_S
    restart_s = aggregator_process.START_TIMEOUT_S + channel.SILENCE_S
    assert restart_s < collaborator.RECONNECT_S
    assert restart_s < OUTAGE_S
    assert aggregator_process.END_GRACE_S + aggregator_process.LOSS_GRACE_S < 10
    assert 2 * spawn.TERM_GRACE_S < 10


def test_defaults_follow_the_round() -> None:
    assert (Deadline().training_limit_s, Deadline().return_limit_s) == (None, REJOIN_S)
    short = Deadline(round_s=5)
    assert (short.training_limit_s, short.return_limit_s) == (5, 5)
    own = Deadline(round_s=60, train_s=30, rejoin_s=20)
    assert (own.training_limit_s, own.return_limit_s) == (40, 20)


def test_who_trains_is_ended_some_time_after_it_was_to_stop() -> None:
    assert Deadline(train_s=30).training_limit_s == 30 + GRACE_S
    assert Deadline(train_s=400).training_limit_s == 500
    assert Deadline(train_s=400, grace_s=7).training_limit_s == 407
    assert Deadline(train_s=400, grace_s=70, round_s=450).training_limit_s == 450


@pytest.mark.parametrize(
    ("section", "key"),
    [("admission", "timeout_s"), ("deadline", "train_s"), ("deadline", "round_s"), ("deadline", "rejoin_s")],
)
def test_nothing_may_last_longer_than_the_certificates(section: str, key: str) -> None:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), certificate_hours=1)
    check_plan_here(PLAN, settings)
    values = {**getattr(PLAN, section).model_dump(), key: 3600}
    plan = PLAN.model_copy(update={section: type(getattr(PLAN, section)).model_validate(values)})
    with pytest.raises(PlanError) as caught:
        check_plan_here(plan, settings)
    assert section in caught.value.place
    assert "certificate_hours in director.yaml" in caught.value.cure
