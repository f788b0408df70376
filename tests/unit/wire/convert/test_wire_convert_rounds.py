"""What a round asks and answers, where a message is not what it should be."""

from typing import Any

import pytest

from openfl_like.federation.ports import CollaboratorReport, Ready
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.reports.progress import TaskProgress
from openfl_like.federation.task import Phase, Update
from openfl_like.wire.convert.rounds import assignment_from, report_from, report_to, update_from, update_to
from openfl_like.wire.protos import federation_pb2 as pb

ME = "cleveland"


def test_the_metrics_of_an_update_come_in_a_fixed_order() -> None:
    values = {name: {"loss": 1.0} for name in ("validate", "adapt", "train", "probe", "check")}
    found = update_from(update_to(Update(1, Phase.TRAIN, ME, "", 1, values)), ME)
    assert list(found.metrics) == sorted(values)


@pytest.mark.parametrize("digest", ["../x", "/x", "a", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "0\0" + "0" * 62])
def test_what_is_not_a_digest_names_no_file(digest: str) -> None:
    with pytest.raises(ValueError, match="is not a valid digest"):
        assignment_from(pb.Assignment(round=1, phase="train", model=digest), ME)
    with pytest.raises(ValueError, match="is not a valid digest"):
        update_from(pb.Update(round=1, phase="train", digest=digest), ME)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ({"train_s": 0.0}, "train_s is 0 s"),
        ({"train_s": float("nan")}, "train_s is nan s"),
        ({"deadline_s": float("inf")}, "deadline_s is inf s"),
        ({"batch_limit": 0}, "batch_limit is 0"),
        ({"work": pb.Work(samples=0)}, "samples is 0"),
        ({"work": pb.Work(epochs=1, batches=1)}, "counts both epochs and batches"),
    ],
)
def test_an_assignment_asks_for_something(amount: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assignment_from(pb.Assignment(round=1, phase="train", **amount), ME)


def test_json_that_is_nested_too_deep_is_malformed() -> None:
    call = pb.TaskCall(name="train", arguments_json='{"a":' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ValueError, match="nested too deep"):
        assignment_from(pb.Assignment(round=1, phase="train", tasks=[call]), ME)


@pytest.mark.parametrize(
    "report",
    [
        Ready("ab"),
        Ready("ab", MachineFacts(gpu=False, memory_bytes=1 << 34)),
        Ready("ab", MachineFacts(gpu=True)),
        TaskProgress(3, Phase.TRAIN, "train", 1, 4, 30, 50, 100, 2.5, {"loss": 0.25}),
        TaskProgress(3, Phase.EVALUATE, "validate"),
    ],
)
def test_what_a_collaborator_reports_comes_as_it_was(report: CollaboratorReport) -> None:
    assert report_from(pb.CollaboratorMessage.FromString(report_to(report).SerializeToString()), ME) == report


def test_a_peer_cannot_tell_a_progress_that_cannot_be() -> None:
    message = pb.CollaboratorMessage(progress=pb.TaskProgress(round=1, phase="train", elapsed_s=float("nan")))
    with pytest.raises(ValueError, match="the time of a progress is not one"):
        report_from(message, ME)
    enormous = pb.CollaboratorMessage(ready=pb.Ready(plan_digest="ab", memory_bytes=2**64 - 1))
    assert report_from(enormous, ME) == Ready("ab", MachineFacts(memory_bytes=1 << 60))
