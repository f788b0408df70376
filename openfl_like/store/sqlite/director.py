"""`director.db`: the experiments that were ever submitted, and the roster of envoys."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, Text, delete, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError

from openfl_like.failpoints import failpoint
from openfl_like.federation.failure import (
    Failure,
    failure_from_fields,
    failures_from_fields,
    fields_of_failure,
    fields_of_failures,
)
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, ShardFacts, SiteTerms
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import RESUMABLE, StoredExperiment
from openfl_like.store.refusals import known_experiment, not_removable, not_resumable, unknown_experiment
from openfl_like.store.sqlite.database import Database, DatabaseSchema, version_table
from openfl_like.store.sqlite.rows import checked, checksum_column, seal

METADATA = MetaData()
version_table(METADATA)
EXPERIMENTS = Table(
    "experiments",
    METADATA,
    Column("position", Integer, primary_key=True),
    Column("id", String(96), nullable=False, unique=True),
    Column("request_id", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("plan_digest", String(64), nullable=False),
    Column("bundle", String(64), nullable=False),
    Column("signature", Text, nullable=False),
    Column("certificates", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("submitted_at", Float, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("shortfalls", Text, nullable=False, server_default="{}"),
    Column("resumed_by", String(64), nullable=False, server_default=""),
    Column("failure", Text, nullable=False, server_default=""),
    checksum_column(),
)
REQUESTS = Table(
    "requests",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("request_id", String(64), primary_key=True),
    Column("experiment", String(96), nullable=False),
)
ENVOYS = Table(
    "envoys",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("last_seen", Float, nullable=False),
    Column("shard", Text, nullable=False),
)
DIRECTOR_DB = "director.db"
SCHEMA = DatabaseSchema("director", "d0004", METADATA)


def director_database(files: DirectorFiles) -> Path:
    """Return where the database of a Director is."""
    return files.state / DIRECTOR_DB


class SqliteDirectorStore:
    """The memory of a Director, in one file of its state directory.

    Args:
        files: The Director's.
    """

    def __init__(self, files: DirectorFiles) -> None:
        self._database = Database(director_database(files), SCHEMA)

    def add(self, request_id: str, experiment: StoredExperiment) -> ExperimentSummary:
        """Queue an experiment; on disk when it returns.

        The same owner's same request id gives the experiment it made before.
        """
        summary = experiment.summary
        row = {
            **{name: value for name, value in asdict(summary).items() if name not in {"degraded", "waiting"}},
            "shortfalls": json.dumps(fields_of_failures(summary.shortfalls)),
            "failure": _failure_to(summary.failure),
            "status": summary.status.value,
            "request_id": request_id,
            "bundle": experiment.bundle,
            "signature": experiment.signature.hex(),
            "certificates": experiment.certificates.decode(),
        }
        try:
            failpoint("director.submit.row.before")
            with self._database.transaction(durable=True) as connection:
                request = {"owner": summary.owner, "request_id": request_id, "experiment": summary.id}
                connection.execute(insert(REQUESTS).values(**request))
                failpoint("director.submit.row.between")
                connection.execute(insert(EXPERIMENTS).values(**row))
                seal(connection, EXPERIMENTS, EXPERIMENTS.c.id == summary.id)
        except IntegrityError:
            known = self.requested(summary.owner, request_id)
            if known is None:
                raise known_experiment(summary.id) from None
            return known
        failpoint("director.submit.row.after")
        return summary

    def requested(self, owner: str, request_id: str) -> ExperimentSummary | None:
        """Return the experiment that this request of this owner made before."""
        query = select(REQUESTS.c.experiment).where(REQUESTS.c.owner == owner, REQUESTS.c.request_id == request_id)
        with self._database.transaction() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else self.experiment(found).summary

    def set_status(
        self,
        experiment: str,
        status: Status,
        reason: str,
        now: float,
        shortfalls: Mapping[str, Failure] | None = None,
        failure: Failure | None = None,
    ) -> ExperimentSummary:
        """Move an experiment on; one that has ended stays as it is.

        Args:
            experiment: Which one.
            status: Where it stands now.
            reason: Why.
            now: Seconds since the epoch.
            shortfalls: Sites without which it had to go on, and why.
            failure: Why it FAILED.
        """
        ended = [status.value for status in Status if status.ended]
        values: dict[str, object] = {"status": status.value, "reason": reason, "resumed_by": ""}
        if status.ended:
            values |= {"ended_at": now, "shortfalls": json.dumps(fields_of_failures(shortfalls or {}))}
            values["failure"] = _failure_to(failure)
        elif status is Status.STARTING:
            values["started_at"] = now
        change = update(EXPERIMENTS).where(EXPERIMENTS.c.id == experiment, EXPERIMENTS.c.status.not_in(ended))
        with self._database.transaction(durable=True) as connection:
            _row(connection, experiment)  # what is damaged must not get a new checksum
            connection.execute(change.values(**values))
            seal(connection, EXPERIMENTS, EXPERIMENTS.c.id == experiment)
        return self.experiment(experiment).summary

    def requeue(self, experiment: str, by: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; on disk when it returns.

        Args:
            experiment: Which one.
            by: Who wants it; stays until the experiment starts.

        Raises:
            ConflictError: If it is anything else.
            NotFoundError: If there is none.
        """
        may = EXPERIMENTS.c.status.in_([status.value for status in RESUMABLE])
        change = update(EXPERIMENTS).where(EXPERIMENTS.c.id == experiment, may)
        values = {
            "status": Status.QUEUED.value,
            "reason": "",
            "resumed_by": by,
            "ended_at": 0.0,
            "shortfalls": "{}",
            "failure": "",
        }
        with self._database.transaction(durable=True) as connection:
            _row(connection, experiment)
            changed = connection.execute(change.values(**values)).rowcount
            seal(connection, EXPERIMENTS, EXPERIMENTS.c.id == experiment)
        summary = self.experiment(experiment).summary
        if not changed:
            raise not_resumable(summary)
        return summary

    def remove(self, experiment: str) -> None:
        """Forget an experiment that has ended, with the request that made it; on disk when it returns.

        Raises:
            ConflictError: If it has not ended.
            NotFoundError: If there is none.
        """
        with self._database.transaction(durable=True) as connection:
            row = _row(connection, experiment)
            if row is None:
                raise unknown_experiment(experiment)
            summary = _stored(row).summary
            if not summary.status.ended:
                raise not_removable(summary)
            connection.execute(delete(REQUESTS).where(REQUESTS.c.experiment == experiment))
            connection.execute(delete(EXPERIMENTS).where(EXPERIMENTS.c.id == experiment))

    def experiment(self, experiment: str) -> StoredExperiment:
        """Return one experiment; raises NotFoundError."""
        with self._database.transaction() as connection:
            row = _row(connection, experiment)
        if row is None:
            raise unknown_experiment(experiment)
        return _stored(row)

    def require(self, experiment: str) -> None:
        """Raise NotFoundError if there is no such experiment."""
        query = select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.id == experiment)
        with self._database.transaction() as connection:
            if connection.execute(query).one_or_none() is None:
                raise unknown_experiment(experiment)

    def experiments(self) -> list[ExperimentSummary]:
        """Return all experiments in the order in which they came."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(EXPERIMENTS).order_by(EXPERIMENTS.c.position)).all()
            for row in rows:
                checked("experiments", row.id, row)
        return [_stored(row._mapping).summary for row in rows]  # noqa: SLF001 (SQLAlchemy's public name for it)

    def verify(self) -> None:
        """Read everything and compare it with itself.

        Raises:
            DamagedError: If anything is not as it was written.
        """
        self._database.check()
        known = {summary.id for summary in self.experiments()}
        with self._database.transaction() as connection:
            asked = set(connection.execute(select(REQUESTS.c.experiment)).scalars())
        if asked != known:
            odd = ", ".join(sorted(asked ^ known)[:3])
            raise self._database.damaged(f"its requests and its experiments do not belong together: {odd}")
        try:
            self.envoys()
        except (ValueError, KeyError, TypeError) as error:
            raise self._database.damaged(f"a row of 'envoys' is not the one that was written: {error}") from error

    def record_envoy(self, envoy: EnvoyRecord) -> None:
        """Remember an envoy."""
        more = [asdict(one) for one in envoy.more_shards]
        facts = {**asdict(envoy.shard), "more_shards": more, "certificate_list": envoy.certificate_list}
        values = {"last_seen": envoy.last_seen, "shard": json.dumps(facts)}
        row = insert(ENVOYS).values(name=envoy.name, **values)
        with self._database.transaction() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[ENVOYS.c.name], set_=values))

    def envoys(self) -> list[EnvoyRecord]:
        """Return every envoy ever seen, offline, by name."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(ENVOYS).order_by(ENVOYS.c.name)).all()
        return [_envoy(row.name, row.last_seen, json.loads(row.shard)) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _failure_to(failure: Failure | None) -> str:
    return "" if failure is None else json.dumps(fields_of_failure(failure))


def _row(connection: Connection, experiment: str) -> Mapping[str, object] | None:
    found = connection.execute(select(EXPERIMENTS).where(EXPERIMENTS.c.id == experiment)).one_or_none()
    if found is None:
        return None
    checked("experiments", experiment, found)
    return cast("Mapping[str, object]", found._mapping)  # noqa: SLF001 (SQLAlchemy's public name for it)


def _envoy(name: str, last_seen: float, facts: Mapping[str, Any]) -> EnvoyRecord:
    more = tuple(_shard(one) for one in facts.get("more_shards", ()))  # not before 0.2.0
    number = facts.get("certificate_list", 0)  # not before 0.2.0
    return EnvoyRecord(
        name, online=False, last_seen=last_seen, shard=_shard(facts), more_shards=more, certificate_list=number
    )


def _shard(value: Mapping[str, Any]) -> ShardFacts:
    shapes = tuple(value["sample_shape"]), tuple(value["target_shape"])
    more = {name: value[name] for name in ("interface", "experiments_at_once") if name in value}  # not before 0.2.0
    if "terms" in value:  # not before 0.2.0
        terms = value["terms"]
        more["terms"] = SiteTerms(**{**terms, "devices": tuple(terms["devices"])})
    return ShardFacts(*shapes, value["description"], value["schema"], **more)


def _stored(row: Mapping[Any, Any]) -> StoredExperiment:
    fields = {
        name: row[name]
        for name in (
            "id",
            "name",
            "reason",
            "owner",
            "submitted_at",
            "started_at",
            "ended_at",
            "plan_digest",
            "resumed_by",
        )
    }
    status, shortfalls = Status(str(row["status"])), failures_from_fields(json.loads(str(row["shortfalls"])))
    more: dict[str, Any] = {"degraded": status is Status.FINISHED and bool(shortfalls), "shortfalls": shortfalls}
    more["failure"] = failure_from_fields(json.loads(str(row["failure"]))) if row["failure"] else None
    summary = ExperimentSummary(status=status, **fields, **more)
    signature = bytes.fromhex(str(row["signature"]))
    return StoredExperiment(summary, str(row["bundle"]), signature, str(row["certificates"]).encode())
