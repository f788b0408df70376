"""What goes into a message comes out of it, for every value that crosses the wire."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.errors import TransferError
from openfl_like.federation.announcements import (
    Announced,
    CollaboratorAbsent,
    ExperimentBegun,
    ExperimentEnded,
    UnknownAnnouncement,
    UpdateReceived,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import MAX_MESSAGE, MAX_NAME, Failure, FailureKind
from openfl_like.federation.parties import (
    NO_TERMS,
    DataProblem,
    DeviceStatistics,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    GpuStatistics,
    Interface,
    LogLines,
    LogQuery,
    PublishedVersion,
    RemovedExperiment,
    Series,
    ServerInfo,
    ShardFacts,
    SiteTerms,
    Waiting,
    WaitKind,
)
from openfl_like.federation.ports import (
    CheckpointOffer,
    CollaboratorEnded,
    Dismissal,
    Heartbeat,
    Hello,
    IssuedCertificate,
    LeaveOrder,
    Order,
    OrderReply,
    Ready,
    StopOrder,
    Submission,
    TaskFailure,
    Welcome,
    Withdrawal,
)
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update, Work
from openfl_like.tensors.manifest import DIGEST_BYTES, MAX_CHUNK_BYTES, Manifest
from openfl_like.wire import convert
from openfl_like.wire.convert import devices as wire_devices
from openfl_like.wire.convert.envoys import (
    detail_from,
    detail_to,
    envoy_from,
    envoy_instruction_from,
    envoy_instruction_to,
    envoy_report_from,
    envoy_report_to,
    envoy_to,
    log_query_from,
    log_query_to,
    logs_from,
    logs_to,
    problem_from,
    problem_to,
    shard_from,
    shard_to,
    terms_from,
    terms_to,
)
from openfl_like.wire.convert.experiments import (
    MAX_FIELDS,
    checkpoint_from,
    checkpoint_to,
    event_from,
    event_to,
    record_from,
    record_to,
    removed_from,
    removed_to,
    server_info_from,
    server_info_to,
    status_from,
    status_to,
    submission_from,
    submission_to,
    summary_from,
    summary_to,
    watch_from,
    watch_to,
)
from openfl_like.wire.convert.rounds import (
    assignment_from,
    assignment_to,
    instruction_from,
    instruction_to,
    report_from,
    report_to,
    update_from,
    update_to,
)
from openfl_like.wire.convert.values import (
    failure_from,
    failure_to,
    interface_from,
    interface_to,
    manifest_from,
    manifest_to,
)
from openfl_like.wire.protos import federation_pb2 as pb

ME = "cleveland"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
digest = st.just("") | st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES).map(bytes.hex)
number = st.floats(allow_nan=False)
count = st.integers(0, 2**63 - 1)
rounds = st.integers(0, 2**32 - 1)
phase = st.sampled_from(Phase)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(text, json_value, max_size=4)
shapes = st.lists(st.integers(0, 2**40), max_size=4).map(tuple)
metrics = st.dictionaries(text, number, max_size=4)
surplus = st.dictionaries(text, st.dictionaries(text, count, min_size=1, max_size=3), max_size=3)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    chunk_bytes = draw(st.integers(1, MAX_CHUNK_BYTES))
    digests = draw(st.lists(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES), max_size=4).map(tuple))
    total = draw(st.integers((len(digests) - 1) * chunk_bytes + 1, len(digests) * chunk_bytes)) if digests else 0
    return Manifest(total, chunk_bytes, digests)


tasks = st.lists(st.builds(TaskCall, text, text, fields, text), max_size=3).map(tuple)
amounts = st.none() | st.integers(1, 2**64 - 1)
sample_seeds = st.none() | st.integers(0, 2**64 - 1)
works = st.builds(Work, amounts, st.none(), amounts, sample_seeds) | st.builds(
    Work, st.none(), amounts, amounts, sample_seeds
)
assignments = st.builds(
    Assignment,
    rounds,
    phase,
    st.just(ME),
    tasks,
    digest,
    st.integers(0, 2**64 - 1),
    st.none() | st.floats(0, 1e6, exclude_min=True),
    train_s=st.none() | st.floats(0, 1e6, exclude_min=True),
    batch_limit=amounts,
    work=st.none() | works,
)
numbers = st.integers(-(2**31) + 1, 2**31 - 1)
failures = st.builds(
    Failure,
    st.sampled_from(FailureKind),
    message=text,
    error=text,
    file=text,
    line=numbers,
    task=text,
    step=text,
    phase=st.none() | phase,
    round=st.none() | numbers,
    site=text,
    exit_code=st.none() | numbers,
)
updates = st.builds(
    Update,
    rounds,
    phase,
    st.just(ME),
    digest,
    st.integers(0, 2**64 - 1),
    st.dictionaries(text, metrics, max_size=3),
    number,
    st.booleans(),
    st.integers(0, 2**64 - 1),
)
terms = st.builds(
    SiteTerms,
    st.none() | st.integers(1, 2**62),
    st.none() | st.booleans(),
    st.lists(st.sampled_from(["auto", "cpu", "cuda", "cuda:3"]), max_size=3).map(tuple),
)
shards = st.builds(ShardFacts, shapes, shapes, text, fields, text, st.integers(1, 99), terms)
more_shards = st.lists(shards, max_size=2).map(tuple)
one_interface = st.builds(Interface, text, shapes, shapes)
interfaces = st.lists(one_interface, max_size=2).map(tuple)
problems = st.builds(DataProblem, st.none() | one_interface, st.none() | one_interface)
amount = st.none() | st.floats(0, 1e18)
share = st.none() | st.floats(0, 100)
bytes_ = st.none() | st.integers(0, 2**62)
celsius = st.none() | st.floats(-300, 10_000)
label = st.text("abc é", max_size=12)
gpus = st.lists(
    st.builds(GpuStatistics, st.integers(0, 2**16 - 1), label, bytes_, bytes_, share, celsius, amount),
    max_size=2, unique_by=lambda gpu: gpu.index,
).map(lambda found: tuple(sorted(found, key=lambda gpu: gpu.index)))  # fmt: skip
extra = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), st.floats(-1e300, 1e300), max_size=3)
devices = st.builds(
    DeviceStatistics, share, st.none() | st.integers(1, 2**20), amount, bytes_, bytes_, bytes_, bytes_, gpus, amount,
    amount, celsius, extra,
)  # fmt: skip
names = st.lists(text, max_size=3).map(tuple)
placed = st.dictionaries(text, st.sampled_from(["cpu", "cuda:0", "cuda:11"]), max_size=3)
beats = st.builds(lambda state, where: Heartbeat(state, tuple(where), where), devices, placed)
log_lines = st.builds(LogLines, text, text, names, text, st.integers(0, 2**64 - 1), st.booleans())
positions = st.dictionaries(text, st.integers(0, 2**64 - 1), max_size=3)
queries = st.builds(LogQuery, text, text, st.booleans(), positions)
moments = st.none() | number
envoys = st.builds(
    EnvoyRecord, text, st.booleans(), number, shards, devices, names,
    online_since=moments, certificate_ends=moments, placed=placed, more_shards=more_shards,
    problem=st.none() | problems, certificate_list=st.integers(0, 2**64 - 1), revoked=st.booleans(),
)  # fmt: skip


@st.composite
def courses(draw: st.DrawFn) -> Series:
    """Numbers of a machine over time."""
    times = tuple(draw(st.lists(number, max_size=4)))
    column = st.lists(moments, min_size=len(times), max_size=len(times)).map(tuple)
    return Series(draw(number), times, draw(st.dictionaries(st.sampled_from("abc"), column, max_size=3)))


summaries = st.builds(
    ExperimentSummary,
    text,
    text,
    st.sampled_from(Status),
    text,
    text,
    number,
    number,
    number,
    text,
    shortfalls=st.dictionaries(text, failures, max_size=3),
    resumed_by=text,
    failure=st.none() | failures,
    waiting=st.none() | st.builds(Waiting, st.sampled_from(WaitKind), text, text, rounds, rounds, names, rounds),
)  # fmt: skip
model_versions = st.builds(ModelVersion, rounds, text, metrics, st.booleans())
versions = st.builds(PublishedVersion, model_versions, text, number, st.none() | st.booleans())
announcements = st.one_of(
    st.builds(UnknownAnnouncement, text, fields),
    st.builds(ExperimentBegun, text, text, names, rounds, st.booleans(), rounds, fields),
    st.builds(CollaboratorAbsent, rounds, phase, text, text, st.none() | failures),
    st.builds(UpdateReceived, rounds, phase, text, rounds, st.dictionaries(text, metrics, max_size=3), number),
    st.builds(
        ExperimentEnded, st.sampled_from(Status), text, rounds, st.dictionaries(text, failures, max_size=3), failures
    ),
)
events = st.builds(Announced, st.integers(0, 2**64 - 1), number, announcements)

OF_JOBS = {"terms", "lease", "answers"}
"""Tried in a module of their own."""
ROUND_TRIPS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "manifest": (manifests(), manifest_to, manifest_from),
    "submission": (
        st.builds(Submission, text, manifests(), st.binary(max_size=80), st.binary(max_size=80)),
        submission_to,
        submission_from,
    ),
    "checkpoint": (
        st.builds(CheckpointOffer, text, manifests(), text, st.binary(max_size=80), st.binary(max_size=80)),
        checkpoint_to,
        checkpoint_from,
    ),
    "assignment": (assignments, assignment_to, lambda m: assignment_from(m, ME)),
    "update": (updates, update_to, lambda m: update_from(m, ME)),
    "report": (
        st.one_of(st.builds(Ready, text), st.builds(TaskFailure, rounds, phase, failures), updates),
        report_to,
        lambda m: report_from(m, ME),
    ),
    "instruction": (
        st.one_of(assignments, st.builds(Withdrawal, rounds, phase, text), st.builds(Dismissal, text, text)),
        instruction_to,
        lambda m: instruction_from(m, ME),
    ),
    "shard": (shards, shard_to, shard_from),
    "terms": (terms, terms_to, terms_from),
    "interface": (one_interface, interface_to, interface_from),
    "problem": (problems, problem_to, problem_from),
    "heartbeat": (
        beats,
        wire_devices.heartbeat_to,
        wire_devices.heartbeat_from,
    ),
    "devices": (devices, wire_devices.devices_to, wire_devices.devices_from),
    "envoy report": (
        st.one_of(
            st.builds(Hello, shards, text, more_shards, st.none() | problems),
            beats,
            st.builds(OrderReply, text, st.booleans(), text, st.binary(max_size=80), st.none() | failures),
            st.builds(CollaboratorEnded, text, st.integers(-(2**31), 2**31 - 1), text),
            log_lines,
        ),
        envoy_report_to,
        envoy_report_from,
    ),
    "envoy instruction": (
        st.one_of(
            st.builds(Welcome, st.floats(0.001, 86_400)),
            st.builds(Order, text, text, st.binary(max_size=80), st.binary(max_size=80), text),
            st.builds(IssuedCertificate, text, st.binary(max_size=80)),
            st.builds(LeaveOrder, text, st.floats(0, 86_400)),
            st.builds(StopOrder, text, text, st.sampled_from([None, Status.FINISHED, Status.FAILED, Status.CANCELLED])),
        ),
        envoy_instruction_to,
        envoy_instruction_from,
    ),
    "logs": (log_lines, logs_to, logs_from),
    "log query": (queries, lambda query: log_query_to("e1", query), log_query_from),
    "summary": (summaries, summary_to, summary_from),
    "removed": (st.builds(RemovedExperiment, text, count, count), removed_to, removed_from),
    "record": (
        st.builds(ExperimentRecord, summaries, st.lists(versions, max_size=3).map(tuple), text, surplus),
        record_to,
        record_from,
    ),
    "event": (events, event_to, event_from),
    "failure": (failures, failure_to, failure_from),
    "watch": (st.lists(st.one_of(summaries, events), max_size=3).map(tuple), watch_to, watch_from),
    "status": (
        st.builds(DirectorStatus, text, names, rounds, rounds, rounds, names, st.integers(1, 99)),
        status_to,
        status_from,
    ),
    "server info": (st.builds(ServerInfo, text, number, interfaces, st.booleans()), server_info_to, server_info_from),
    "envoy": (envoys, envoy_to, envoy_from),
    "series": (courses(), wire_devices.series_to, wire_devices.series_from),
    "detail": (
        st.builds(EnvoyDetail, envoys, st.lists(courses(), max_size=2).map(tuple)),
        detail_to,
        detail_from,
    ),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_value_survives_its_message(kind: str, data: st.DataObject) -> None:
    values, to_message, from_message = ROUND_TRIPS[kind]
    value = data.draw(values)
    message = to_message(value)
    again = type(message).FromString(message.SerializeToString())
    assert from_message(again) == value


def test_every_conversion_is_tested() -> None:
    modules = [
        importlib.import_module(f"{convert.__name__}.{found.name}") for found in pkgutil.iter_modules(convert.__path__)
    ]
    functions = {name for module in modules for name in vars(module) if name.endswith("_to")}
    made = {name.removesuffix("_to") for name in functions if not name.startswith("_")}
    assert made == {name.replace(" ", "_") for name in ROUND_TRIPS} | OF_JOBS


@pytest.mark.parametrize("heartbeat_s", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_a_director_cannot_have_an_envoy_do_nothing_but_heartbeats(heartbeat_s: float) -> None:
    with pytest.raises(ValueError, match="there is no instruction like that"):
        envoy_instruction_from(pb.DirectorMessage(welcome=pb.Welcome(heartbeat_s=heartbeat_s)))
    with pytest.raises(ValueError, match="there is no instruction like that"):
        envoy_instruction_from(pb.DirectorMessage())
    for retry_after_s in (-1.0, 86_401.0, float("nan")):
        with pytest.raises(ValueError, match="there is no instruction like that"):
            envoy_instruction_from(pb.DirectorMessage(leave=pb.LeaveOrder(retry_after_s=retry_after_s)))


def test_an_experiment_that_is_stopped_since_it_has_ended_has_ended() -> None:
    for ended in ("RUNNING", "over"):
        with pytest.raises(ValueError, match=ended):
            envoy_instruction_from(pb.DirectorMessage(stop=pb.StopOrder(experiment="e1", ended=ended)))


LONG = "x" * 900_000


@pytest.mark.parametrize(
    ("taken", "text"),
    [
        (lambda: shard_from(pb.ShardFacts(description=LONG)), "description"),
        (lambda: envoy_report_from(pb.EnvoyMessage(reply=pb.OrderReply(reason=LONG))), "reason"),
        (lambda: envoy_report_from(pb.EnvoyMessage(ended=pb.CollaboratorEnded(reason=LONG))), "reason"),
        (lambda: envoy_report_from(pb.EnvoyMessage(hello=pb.EnvoyHello(version=LONG))), "version"),
        (lambda: envoy_instruction_from(pb.DirectorMessage(stop=pb.StopOrder(reason=LONG))), "reason"),
        (lambda: summary_from(pb.ExperimentSummary(status="FAILED", reason=LONG)), "reason"),
        (
            lambda: instruction_from(pb.AggregatorMessage(withdrawal=pb.Withdrawal(phase="train", reason=LONG)), ME),
            "reason",
        ),
        (lambda: instruction_from(pb.AggregatorMessage(dismissal=pb.Dismissal(reason=LONG)), ME), "reason"),
    ],
)
def test_a_text_is_cut_where_it_enters(taken: Callable[[], object], text: str) -> None:
    assert len(getattr(taken(), text)) <= MAX_MESSAGE


def test_a_shard_with_more_axes_or_words_than_any_is_refused() -> None:
    with pytest.raises(ValueError, match="a shape of 3,900,000 axes"):
        shard_from(pb.ShardFacts(sample_shape=[1] * 3_900_000))
    with pytest.raises(ValueError, match="a schema of 900,009 characters"):
        shard_from(pb.ShardFacts(schema_json=f'{{"names":"{LONG[:-3]}"}}'))


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (pb.SiteTerms(model_bytes=0), "no model has 0 bytes"),
        (pb.SiteTerms(model_bytes=-5), "no model has -5 bytes"),
        (pb.SiteTerms(devices=["cuda:0", "tpu"]), "'tpu' is not a device"),
        (pb.SiteTerms(devices=["cpu"] * 1001), "1,001 devices are too many"),
    ],
)
def test_terms_that_no_site_can_have_are_refused(terms: pb.SiteTerms, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        shard_from(pb.ShardFacts(terms=terms))


def test_a_site_of_a_former_version_tells_no_terms() -> None:
    assert shard_from(pb.ShardFacts(sample_shape=[3])).terms == NO_TERMS


@pytest.mark.parametrize("data", [b"", b"junk", b"FXM1" + bytes(12) + b"odd"])
def test_a_malformed_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(TransferError):
        manifest_from(pb.Manifest(encoded=data))


@pytest.mark.parametrize(
    "message",
    [pb.CollaboratorMessage(), pb.CollaboratorMessage(failed=pb.TaskFailure(phase="dance"))],
    ids=["empty", "unknown phase"],
)
def test_a_report_without_sense_is_a_value_error_which_the_server_calls_malformed(
    message: pb.CollaboratorMessage,
) -> None:
    with pytest.raises(ValueError, match="Phase"):
        report_from(message, ME)


@pytest.mark.parametrize("schema", ["[1]", "null", "{", "7"])
def test_a_shard_whose_schema_is_no_object_is_refused(schema: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own text, or ours)
        shard_from(pb.ShardFacts(schema_json=schema))


def test_a_failure_is_bounded_and_a_malformed_one_refused() -> None:
    long = failure_from(pb.Failure(kind="task", message="m" * 9999, error="e" * 9999))
    assert (len(long.message), len(long.error)) == (MAX_MESSAGE, MAX_NAME)
    for message in (pb.Failure(), pb.Failure(kind="whim"), pb.Failure(kind="task", phase="dance")):
        with pytest.raises(ValueError, match=r"."):
            failure_from(message)


@pytest.mark.parametrize("message", [
    pb.EventRecord(sequence=1, kind="round_finished", fields_json="[]"),
    pb.EventRecord(sequence=1, kind="round_finished", fields_json="{"),
    pb.EventRecord(sequence=1, kind="k" * 65, fields_json="{}"),
    pb.EventRecord(sequence=1, kind="round_finished", fields_json='{"digest":"' + "d" * MAX_FIELDS + '"}'),
])  # fmt: skip
def test_an_event_that_is_too_long_or_malformed_is_refused(message: pb.EventRecord) -> None:
    with pytest.raises(ValueError, match=r"."):
        event_from(message)


def test_what_a_director_of_0_1_says_of_its_only_interface_is_no_interface_of_today() -> None:
    shapes = b"\x1a\x02\x08\x08" + b"\x22\x01\x0a"  # fields 3 and 4, packed numbers
    info = pb.ServerInfo.FromString(b"\x0a\x050.1.0" + shapes)
    assert (info.version, list(info.interfaces)) == ("0.1.0", [])
