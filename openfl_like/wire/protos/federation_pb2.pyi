from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RawFrame(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ticket(_message.Message):
    __slots__ = ("secret", "port")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    secret: bytes
    port: int
    def __init__(self, secret: _Optional[bytes] = ..., port: _Optional[int] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("encoded", "ticket")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    ticket: Ticket
    def __init__(self, encoded: _Optional[bytes] = ..., ticket: _Optional[_Union[Ticket, _Mapping]] = ...) -> None: ...

class Wants(_message.Message):
    __slots__ = ("chunks", "ticket", "by_ticket")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    BY_TICKET_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedScalarFieldContainer[int]
    ticket: Ticket
    by_ticket: bool
    def __init__(self, chunks: _Optional[_Iterable[int]] = ..., ticket: _Optional[_Union[Ticket, _Mapping]] = ..., by_ticket: bool = ...) -> None: ...

class FetchBundleRequest(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    def __init__(self, experiment: _Optional[str] = ...) -> None: ...

class FetchModelRequest(_message.Message):
    __slots__ = ("experiment", "which")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    WHICH_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    which: str
    def __init__(self, experiment: _Optional[str] = ..., which: _Optional[str] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("request_id", "bundle", "signature", "certificates")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    bundle: Manifest
    signature: bytes
    certificates: bytes
    def __init__(self, request_id: _Optional[str] = ..., bundle: _Optional[_Union[Manifest, _Mapping]] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[bytes] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("request_id", "archive", "bundle", "signature", "certificates")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    archive: Manifest
    bundle: str
    signature: bytes
    certificates: bytes
    def __init__(self, request_id: _Optional[str] = ..., archive: _Optional[_Union[Manifest, _Mapping]] = ..., bundle: _Optional[str] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[bytes] = ...) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("update", "manifest")
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    update: Update
    manifest: Manifest
    def __init__(self, update: _Optional[_Union[Update, _Mapping]] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("digest", "code", "reason")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    digest: str
    code: str
    reason: str
    def __init__(self, digest: _Optional[str] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SiteTerms(_message.Message):
    __slots__ = ("model_bytes", "installs_requirements", "devices")
    MODEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    INSTALLS_REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    model_bytes: int
    installs_requirements: bool
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_bytes: _Optional[int] = ..., installs_requirements: bool = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...

class ShardFacts(_message.Message):
    __slots__ = ("sample_shape", "target_shape", "description", "schema_json", "interface", "experiments_at_once", "terms")
    SAMPLE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SHAPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTS_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    sample_shape: _containers.RepeatedScalarFieldContainer[int]
    target_shape: _containers.RepeatedScalarFieldContainer[int]
    description: str
    schema_json: str
    interface: str
    experiments_at_once: int
    terms: SiteTerms
    def __init__(self, sample_shape: _Optional[_Iterable[int]] = ..., target_shape: _Optional[_Iterable[int]] = ..., description: _Optional[str] = ..., schema_json: _Optional[str] = ..., interface: _Optional[str] = ..., experiments_at_once: _Optional[int] = ..., terms: _Optional[_Union[SiteTerms, _Mapping]] = ...) -> None: ...

class GpuStatistics(_message.Message):
    __slots__ = ("name", "utilisation_percent", "memory_total_bytes", "memory_used_bytes", "index", "temperature_c", "power_w")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    name: str
    utilisation_percent: float
    memory_total_bytes: int
    memory_used_bytes: int
    index: int
    temperature_c: float
    power_w: float
    def __init__(self, name: _Optional[str] = ..., utilisation_percent: _Optional[float] = ..., memory_total_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., index: _Optional[int] = ..., temperature_c: _Optional[float] = ..., power_w: _Optional[float] = ...) -> None: ...

class DeviceStatistics(_message.Message):
    __slots__ = ("cpu_percent", "cpu_count", "load_1m", "memory_total_bytes", "memory_used_bytes", "disk_total_bytes", "disk_used_bytes", "gpus", "network_in_bytes_per_s", "network_out_bytes_per_s", "temperature_c", "extra")
    class ExtraEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOAD_1M_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_IN_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    NETWORK_OUT_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    cpu_percent: float
    cpu_count: int
    load_1m: float
    memory_total_bytes: int
    memory_used_bytes: int
    disk_total_bytes: int
    disk_used_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[GpuStatistics]
    network_in_bytes_per_s: float
    network_out_bytes_per_s: float
    temperature_c: float
    extra: _containers.ScalarMap[str, float]
    def __init__(self, cpu_percent: _Optional[float] = ..., cpu_count: _Optional[int] = ..., load_1m: _Optional[float] = ..., memory_total_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., disk_total_bytes: _Optional[int] = ..., disk_used_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[GpuStatistics, _Mapping]]] = ..., network_in_bytes_per_s: _Optional[float] = ..., network_out_bytes_per_s: _Optional[float] = ..., temperature_c: _Optional[float] = ..., extra: _Optional[_Mapping[str, float]] = ...) -> None: ...

class EnvoyHello(_message.Message):
    __slots__ = ("shard", "version", "more_shards", "problem")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MORE_SHARDS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    shard: ShardFacts
    version: str
    more_shards: _containers.RepeatedCompositeFieldContainer[ShardFacts]
    problem: DataProblem
    def __init__(self, shard: _Optional[_Union[ShardFacts, _Mapping]] = ..., version: _Optional[str] = ..., more_shards: _Optional[_Iterable[_Union[ShardFacts, _Mapping]]] = ..., problem: _Optional[_Union[DataProblem, _Mapping]] = ...) -> None: ...

class DataProblem(_message.Message):
    __slots__ = ("agreed", "found")
    AGREED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    agreed: Interface
    found: Interface
    def __init__(self, agreed: _Optional[_Union[Interface, _Mapping]] = ..., found: _Optional[_Union[Interface, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("devices", "running", "placed")
    class PlacedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    devices: DeviceStatistics
    running: _containers.RepeatedScalarFieldContainer[str]
    placed: _containers.ScalarMap[str, str]
    def __init__(self, devices: _Optional[_Union[DeviceStatistics, _Mapping]] = ..., running: _Optional[_Iterable[str]] = ..., placed: _Optional[_Mapping[str, str]] = ...) -> None: ...

class OrderReply(_message.Message):
    __slots__ = ("experiment", "accepted", "reason", "csr", "failure")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CSR_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    accepted: bool
    reason: str
    csr: bytes
    failure: Failure
    def __init__(self, experiment: _Optional[str] = ..., accepted: bool = ..., reason: _Optional[str] = ..., csr: _Optional[bytes] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class CollaboratorEnded(_message.Message):
    __slots__ = ("experiment", "exit_code", "reason")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    exit_code: int
    reason: str
    def __init__(self, experiment: _Optional[str] = ..., exit_code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LogLines(_message.Message):
    __slots__ = ("experiment", "source", "lines", "role", "position", "complete")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    source: str
    lines: _containers.RepeatedScalarFieldContainer[str]
    role: str
    position: int
    complete: bool
    def __init__(self, experiment: _Optional[str] = ..., source: _Optional[str] = ..., lines: _Optional[_Iterable[str]] = ..., role: _Optional[str] = ..., position: _Optional[int] = ..., complete: bool = ...) -> None: ...

class EnvoyMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "reply", "ended", "logs")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    hello: EnvoyHello
    heartbeat: Heartbeat
    reply: OrderReply
    ended: CollaboratorEnded
    logs: LogLines
    def __init__(self, hello: _Optional[_Union[EnvoyHello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., reply: _Optional[_Union[OrderReply, _Mapping]] = ..., ended: _Optional[_Union[CollaboratorEnded, _Mapping]] = ..., logs: _Optional[_Union[LogLines, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("heartbeat_s",)
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    heartbeat_s: float
    def __init__(self, heartbeat_s: _Optional[float] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("experiment", "bundle", "signature", "certificates", "aggregator_address")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    AGGREGATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    bundle: str
    signature: bytes
    certificates: bytes
    aggregator_address: str
    def __init__(self, experiment: _Optional[str] = ..., bundle: _Optional[str] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[bytes] = ..., aggregator_address: _Optional[str] = ...) -> None: ...

class IssuedCertificate(_message.Message):
    __slots__ = ("experiment", "chain")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    chain: bytes
    def __init__(self, experiment: _Optional[str] = ..., chain: _Optional[bytes] = ...) -> None: ...

class StopOrder(_message.Message):
    __slots__ = ("experiment", "reason", "ended")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    reason: str
    ended: str
    def __init__(self, experiment: _Optional[str] = ..., reason: _Optional[str] = ..., ended: _Optional[str] = ...) -> None: ...

class DirectorMessage(_message.Message):
    __slots__ = ("welcome", "order", "certificate", "stop", "leave")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    order: Order
    certificate: IssuedCertificate
    stop: StopOrder
    leave: LeaveOrder
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., certificate: _Optional[_Union[IssuedCertificate, _Mapping]] = ..., stop: _Optional[_Union[StopOrder, _Mapping]] = ..., leave: _Optional[_Union[LeaveOrder, _Mapping]] = ...) -> None: ...

class LeaveOrder(_message.Message):
    __slots__ = ("message", "retry_after_s")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    message: str
    retry_after_s: float
    def __init__(self, message: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class ExperimentRequest(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    def __init__(self, experiment: _Optional[str] = ...) -> None: ...

class RemovedExperiment(_message.Message):
    __slots__ = ("experiment", "models", "freed_bytes")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    models: int
    freed_bytes: int
    def __init__(self, experiment: _Optional[str] = ..., models: _Optional[int] = ..., freed_bytes: _Optional[int] = ...) -> None: ...

class ListExperimentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEnvoysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExperimentSummary(_message.Message):
    __slots__ = ("id", "name", "status", "reason", "owner", "submitted_at", "started_at", "ended_at", "plan_digest", "degraded", "shortfalls", "resumed_by", "failure", "waiting")
    class ShortfallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Failure
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SHORTFALLS_FIELD_NUMBER: _ClassVar[int]
    RESUMED_BY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    status: str
    reason: str
    owner: str
    submitted_at: float
    started_at: float
    ended_at: float
    plan_digest: str
    degraded: bool
    shortfalls: _containers.MessageMap[str, Failure]
    resumed_by: str
    failure: Failure
    waiting: Waiting
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., owner: _Optional[str] = ..., submitted_at: _Optional[float] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., plan_digest: _Optional[str] = ..., degraded: bool = ..., shortfalls: _Optional[_Mapping[str, Failure]] = ..., resumed_by: _Optional[str] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., waiting: _Optional[_Union[Waiting, _Mapping]] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("kind", "site", "experiment", "running", "places", "envoys", "more")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    site: str
    experiment: str
    running: int
    places: int
    envoys: _containers.RepeatedScalarFieldContainer[str]
    more: int
    def __init__(self, kind: _Optional[str] = ..., site: _Optional[str] = ..., experiment: _Optional[str] = ..., running: _Optional[int] = ..., places: _Optional[int] = ..., envoys: _Optional[_Iterable[str]] = ..., more: _Optional[int] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("round", "digest", "metrics", "best", "sha256", "published_at", "kept")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ROUND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    round: int
    digest: str
    metrics: _containers.ScalarMap[str, float]
    best: bool
    sha256: str
    published_at: float
    kept: bool
    def __init__(self, round: _Optional[int] = ..., digest: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., best: bool = ..., sha256: _Optional[str] = ..., published_at: _Optional[float] = ..., kept: bool = ...) -> None: ...

class Surplus(_message.Message):
    __slots__ = ("collaborator", "standing", "count")
    COLLABORATOR_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    collaborator: str
    standing: str
    count: int
    def __init__(self, collaborator: _Optional[str] = ..., standing: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class ExperimentRecord(_message.Message):
    __slots__ = ("summary", "versions", "plan_json", "surplus")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PLAN_JSON_FIELD_NUMBER: _ClassVar[int]
    SURPLUS_FIELD_NUMBER: _ClassVar[int]
    summary: ExperimentSummary
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    plan_json: str
    surplus: _containers.RepeatedCompositeFieldContainer[Surplus]
    def __init__(self, summary: _Optional[_Union[ExperimentSummary, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., plan_json: _Optional[str] = ..., surplus: _Optional[_Iterable[_Union[Surplus, _Mapping]]] = ...) -> None: ...

class ListExperimentsReply(_message.Message):
    __slots__ = ("experiments",)
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[ExperimentSummary]
    def __init__(self, experiments: _Optional[_Iterable[_Union[ExperimentSummary, _Mapping]]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("experiment", "after", "stored", "progress")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    after: int
    stored: bool
    progress: bool
    def __init__(self, experiment: _Optional[str] = ..., after: _Optional[int] = ..., stored: bool = ..., progress: bool = ...) -> None: ...

class EventRecord(_message.Message):
    __slots__ = ("sequence", "time", "kind", "fields_json")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIELDS_JSON_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: float
    kind: str
    fields_json: str
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[float] = ..., kind: _Optional[str] = ..., fields_json: _Optional[str] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[WatchItem]
    def __init__(self, items: _Optional[_Iterable[_Union[WatchItem, _Mapping]]] = ...) -> None: ...

class WatchItem(_message.Message):
    __slots__ = ("summary", "event")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    summary: ExperimentSummary
    event: EventRecord
    def __init__(self, summary: _Optional[_Union[ExperimentSummary, _Mapping]] = ..., event: _Optional[_Union[EventRecord, _Mapping]] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("experiment", "source", "role", "follow", "after")
    class AfterEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    source: str
    role: str
    follow: bool
    after: _containers.ScalarMap[str, int]
    def __init__(self, experiment: _Optional[str] = ..., source: _Optional[str] = ..., role: _Optional[str] = ..., follow: bool = ..., after: _Optional[_Mapping[str, int]] = ...) -> None: ...

class EnvoyRecord(_message.Message):
    __slots__ = ("name", "online", "last_seen", "shard", "devices", "running", "online_since", "certificate_ends", "placed", "more_shards", "version", "problem", "certificate_list", "revoked")
    class PlacedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    ONLINE_SINCE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_ENDS_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    MORE_SHARDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_LIST_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    name: str
    online: bool
    last_seen: float
    shard: ShardFacts
    devices: DeviceStatistics
    running: _containers.RepeatedScalarFieldContainer[str]
    online_since: float
    certificate_ends: float
    placed: _containers.ScalarMap[str, str]
    more_shards: _containers.RepeatedCompositeFieldContainer[ShardFacts]
    version: str
    problem: DataProblem
    certificate_list: int
    revoked: bool
    def __init__(self, name: _Optional[str] = ..., online: bool = ..., last_seen: _Optional[float] = ..., shard: _Optional[_Union[ShardFacts, _Mapping]] = ..., devices: _Optional[_Union[DeviceStatistics, _Mapping]] = ..., running: _Optional[_Iterable[str]] = ..., online_since: _Optional[float] = ..., certificate_ends: _Optional[float] = ..., placed: _Optional[_Mapping[str, str]] = ..., more_shards: _Optional[_Iterable[_Union[ShardFacts, _Mapping]]] = ..., version: _Optional[str] = ..., problem: _Optional[_Union[DataProblem, _Mapping]] = ..., certificate_list: _Optional[int] = ..., revoked: bool = ...) -> None: ...

class EnvoyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Gauge(_message.Message):
    __slots__ = ("name", "numbers", "known")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    numbers: _containers.RepeatedScalarFieldContainer[float]
    known: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, name: _Optional[str] = ..., numbers: _Optional[_Iterable[float]] = ..., known: _Optional[_Iterable[bool]] = ...) -> None: ...

class Series(_message.Message):
    __slots__ = ("slot_s", "times", "gauges")
    SLOT_S_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    slot_s: float
    times: _containers.RepeatedScalarFieldContainer[float]
    gauges: _containers.RepeatedCompositeFieldContainer[Gauge]
    def __init__(self, slot_s: _Optional[float] = ..., times: _Optional[_Iterable[float]] = ..., gauges: _Optional[_Iterable[_Union[Gauge, _Mapping]]] = ...) -> None: ...

class EnvoyDetail(_message.Message):
    __slots__ = ("record", "history")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    record: EnvoyRecord
    history: _containers.RepeatedCompositeFieldContainer[Series]
    def __init__(self, record: _Optional[_Union[EnvoyRecord, _Mapping]] = ..., history: _Optional[_Iterable[_Union[Series, _Mapping]]] = ...) -> None: ...

class DirectorStatus(_message.Message):
    __slots__ = ("version", "problems", "queued", "running", "envoys", "warnings", "places")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    version: str
    problems: _containers.RepeatedScalarFieldContainer[str]
    queued: int
    running: int
    envoys: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    places: int
    def __init__(self, version: _Optional[str] = ..., problems: _Optional[_Iterable[str]] = ..., queued: _Optional[int] = ..., running: _Optional[int] = ..., envoys: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., places: _Optional[int] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("version", "time", "interfaces", "workspace_parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_PARTS_FIELD_NUMBER: _ClassVar[int]
    version: str
    time: float
    interfaces: _containers.RepeatedCompositeFieldContainer[Interface]
    workspace_parts: bool
    def __init__(self, version: _Optional[str] = ..., time: _Optional[float] = ..., interfaces: _Optional[_Iterable[_Union[Interface, _Mapping]]] = ..., workspace_parts: bool = ...) -> None: ...

class Interface(_message.Message):
    __slots__ = ("name", "sample_shape", "target_shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sample_shape: _containers.RepeatedScalarFieldContainer[int]
    target_shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., sample_shape: _Optional[_Iterable[int]] = ..., target_shape: _Optional[_Iterable[int]] = ...) -> None: ...

class ListEnvoysReply(_message.Message):
    __slots__ = ("envoys",)
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    envoys: _containers.RepeatedCompositeFieldContainer[EnvoyRecord]
    def __init__(self, envoys: _Optional[_Iterable[_Union[EnvoyRecord, _Mapping]]] = ...) -> None: ...

class TaskCall(_message.Message):
    __slots__ = ("name", "function", "arguments_json", "apply", "trains")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    TRAINS_FIELD_NUMBER: _ClassVar[int]
    name: str
    function: str
    arguments_json: str
    apply: str
    trains: bool
    def __init__(self, name: _Optional[str] = ..., function: _Optional[str] = ..., arguments_json: _Optional[str] = ..., apply: _Optional[str] = ..., trains: bool = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("round", "phase", "tasks", "model", "seed", "deadline_s", "continues", "train_s", "batch_limit", "work")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    CONTINUES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_S_FIELD_NUMBER: _ClassVar[int]
    BATCH_LIMIT_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    round: int
    phase: str
    tasks: _containers.RepeatedCompositeFieldContainer[TaskCall]
    model: str
    seed: int
    deadline_s: float
    continues: int
    train_s: float
    batch_limit: int
    work: Work
    def __init__(self, round: _Optional[int] = ..., phase: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[TaskCall, _Mapping]]] = ..., model: _Optional[str] = ..., seed: _Optional[int] = ..., deadline_s: _Optional[float] = ..., continues: _Optional[int] = ..., train_s: _Optional[float] = ..., batch_limit: _Optional[int] = ..., work: _Optional[_Union[Work, _Mapping]] = ...) -> None: ...

class Work(_message.Message):
    __slots__ = ("epochs", "batches", "samples", "sample_seed")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SEED_FIELD_NUMBER: _ClassVar[int]
    epochs: int
    batches: int
    samples: int
    sample_seed: int
    def __init__(self, epochs: _Optional[int] = ..., batches: _Optional[int] = ..., samples: _Optional[int] = ..., sample_seed: _Optional[int] = ...) -> None: ...

class TaskMetrics(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    def __init__(self, values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("round", "phase", "digest", "num_samples", "metrics", "duration_s", "partial", "batches")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TaskMetrics
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TaskMetrics, _Mapping]] = ...) -> None: ...
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    round: int
    phase: str
    digest: str
    num_samples: int
    metrics: _containers.MessageMap[str, TaskMetrics]
    duration_s: float
    partial: bool
    batches: int
    def __init__(self, round: _Optional[int] = ..., phase: _Optional[str] = ..., digest: _Optional[str] = ..., num_samples: _Optional[int] = ..., metrics: _Optional[_Mapping[str, TaskMetrics]] = ..., duration_s: _Optional[float] = ..., partial: bool = ..., batches: _Optional[int] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("plan_digest", "gpu", "memory_bytes")
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    plan_digest: str
    gpu: bool
    memory_bytes: int
    def __init__(self, plan_digest: _Optional[str] = ..., gpu: bool = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class TaskProgress(_message.Message):
    __slots__ = ("round", "phase", "task", "epoch", "epochs", "batches", "samples", "of_samples", "elapsed_s", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    OF_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    round: int
    phase: str
    task: str
    epoch: int
    epochs: int
    batches: int
    samples: int
    of_samples: int
    elapsed_s: float
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, round: _Optional[int] = ..., phase: _Optional[str] = ..., task: _Optional[str] = ..., epoch: _Optional[int] = ..., epochs: _Optional[int] = ..., batches: _Optional[int] = ..., samples: _Optional[int] = ..., of_samples: _Optional[int] = ..., elapsed_s: _Optional[float] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class TaskFailure(_message.Message):
    __slots__ = ("round", "phase", "failure")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    round: int
    phase: str
    failure: Failure
    def __init__(self, round: _Optional[int] = ..., phase: _Optional[str] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "message", "error", "file", "line", "task", "step", "phase", "round", "site", "exit_code", "call", "samples", "targets")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    error: str
    file: str
    line: int
    task: str
    step: str
    phase: str
    round: int
    site: str
    exit_code: int
    call: str
    samples: str
    targets: str
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., error: _Optional[str] = ..., file: _Optional[str] = ..., line: _Optional[int] = ..., task: _Optional[str] = ..., step: _Optional[str] = ..., phase: _Optional[str] = ..., round: _Optional[int] = ..., site: _Optional[str] = ..., exit_code: _Optional[int] = ..., call: _Optional[str] = ..., samples: _Optional[str] = ..., targets: _Optional[str] = ...) -> None: ...

class CollaboratorMessage(_message.Message):
    __slots__ = ("ready", "failed", "evaluated", "delivered", "progress", "file")
    READY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    failed: TaskFailure
    evaluated: Update
    delivered: Update
    progress: TaskProgress
    file: bytes
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., failed: _Optional[_Union[TaskFailure, _Mapping]] = ..., evaluated: _Optional[_Union[Update, _Mapping]] = ..., delivered: _Optional[_Union[Update, _Mapping]] = ..., progress: _Optional[_Union[TaskProgress, _Mapping]] = ..., file: _Optional[bytes] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("round", "phase", "reason")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    round: int
    phase: str
    reason: str
    def __init__(self, round: _Optional[int] = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Dismissal(_message.Message):
    __slots__ = ("status", "reason")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    status: str
    reason: str
    def __init__(self, status: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AggregatorMessage(_message.Message):
    __slots__ = ("assignment", "withdrawal", "dismissal", "receipt", "model")
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    DISMISSAL_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    assignment: Assignment
    withdrawal: Withdrawal
    dismissal: Dismissal
    receipt: Receipt
    model: bytes
    def __init__(self, assignment: _Optional[_Union[Assignment, _Mapping]] = ..., withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., dismissal: _Optional[_Union[Dismissal, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., model: _Optional[bytes] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("experiment", "on_behalf_of")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    on_behalf_of: str
    def __init__(self, experiment: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class CancelReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LossReport(_message.Message):
    __slots__ = ("collaborator", "reason")
    COLLABORATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    collaborator: str
    reason: str
    def __init__(self, collaborator: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class LossReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Terms(_message.Message):
    __slots__ = ("bundle", "lease_s")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    lease_s: float
    def __init__(self, bundle: _Optional[str] = ..., lease_s: _Optional[float] = ...) -> None: ...

class NextLeaseRequest(_message.Message):
    __slots__ = ("bundle",)
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    def __init__(self, bundle: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("site", "assignment")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    site: str
    assignment: Assignment
    def __init__(self, site: _Optional[str] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("id", "jobs", "ended")
    ID_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    id: str
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    ended: bool
    def __init__(self, id: _Optional[str] = ..., jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., ended: bool = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: str
    def __init__(self, lease: _Optional[str] = ...) -> None: ...

class RenewLeaseReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JobFailure(_message.Message):
    __slots__ = ("code", "reason", "failure")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    failure: Failure
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class JobAnswer(_message.Message):
    __slots__ = ("update", "failed", "file")
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    update: Update
    failed: JobFailure
    file: bytes
    def __init__(self, update: _Optional[_Union[Update, _Mapping]] = ..., failed: _Optional[_Union[JobFailure, _Mapping]] = ..., file: _Optional[bytes] = ...) -> None: ...

class CompleteLeaseRequest(_message.Message):
    __slots__ = ("lease", "answers", "given_up")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_FIELD_NUMBER: _ClassVar[int]
    lease: str
    answers: _containers.RepeatedCompositeFieldContainer[JobAnswer]
    given_up: str
    def __init__(self, lease: _Optional[str] = ..., answers: _Optional[_Iterable[_Union[JobAnswer, _Mapping]]] = ..., given_up: _Optional[str] = ...) -> None: ...

class CompleteLeaseReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FetchJobFileRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class DeliverJobUpdateRequest(_message.Message):
    __slots__ = ("lease", "job", "manifest")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    lease: str
    job: int
    manifest: Manifest
    def __init__(self, lease: _Optional[str] = ..., job: _Optional[int] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ...) -> None: ...
