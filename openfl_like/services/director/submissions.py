"""What users submit: checked before a byte of it is taken, and made an experiment once, however often it is sent."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import BundleError, FederationError, NotAllowedError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import Submission, UploadTarget
from openfl_like.federation.status import Status
from openfl_like.pki.files import Trust
from openfl_like.pki.signing import verify_submitter
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.names import MAX_BUNDLE_BYTES, MAX_TOTAL_BYTES
from openfl_like.plan.schema import Plan
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.settings import DirectorFile, check_plan_here
from openfl_like.services.director.single_flight import SingleFlight, check_request_id
from openfl_like.store.files import ExperimentFiles, sync_names
from openfl_like.store.ports import DirectorStore, StoredExperiment, Stores


@dataclass(slots=True)
class Submissions:
    """Takes bundles in.

    Args:
        settings: director.yaml.
        trust: Who must have certified a submitter.
        store: Gets the experiments.
        stores: Makes their records.
        disk_space: Whether there is room for one more.
    """

    settings: DirectorFile
    trust: Trust
    store: DirectorStore
    stores: Stores
    disk_space: DiskSpace
    _under_way: SingleFlight[ExperimentSummary] = field(default_factory=SingleFlight)

    async def expect(self, identity: str, submission: Submission) -> UploadTarget:
        """Check request id, size and signature before a byte of the bundle is taken."""
        check_request_id(submission.request_id)
        if submission.manifest.total_bytes > MAX_BUNDLE_BYTES:
            raise BundleError(
                f"the bundle has {submission.manifest.total_bytes:,} bytes, the limit is {MAX_TOTAL_BYTES:,}",
                cure="keep data and models out of the workspace",
            )
        digest = submission.manifest.digest
        signer = verify_submitter(digest, submission.signature, submission.certificates, self.trust)
        if signer.uri != identity:  # the name alone is not enough: an admin may be called like a user
            raise NotAllowedError(f"{identity} submits a bundle that {signer.uri} signed")
        known = await asyncio.to_thread(self.store.requested, signer.name, submission.request_id)
        if known is not None:
            return UploadTarget(self.settings.files.experiment(known.id).bundle, complete=True)
        self.disk_space.check()
        return UploadTarget(self.settings.files.submission(signer.name, submission.request_id))

    async def admit(self, caller: str, submission: Submission) -> ExperimentSummary:
        """Make an experiment of a complete bundle; it is on disk when this returns."""
        key = caller, submission.request_id
        return await self._under_way.do(key, lambda: self._admit(caller, submission))

    def _admit(self, caller: str, submission: Submission) -> ExperimentSummary:
        known = self.store.requested(caller, submission.request_id)
        if known is not None:
            return known
        failpoint("director.submit.received")
        incoming = self.settings.files.submission(caller, submission.request_id)
        staging = self.settings.files.unpacked()
        try:
            plan = unpack(incoming, staging)
            check_plan(plan, "the submitted plan", self.settings.part_origin)
            check_plan_here(plan, self.settings)
        except (FederationError, OSError) as error:
            incoming.unlink(missing_ok=True)
            ExperimentFiles(staging).remove()
            raise no_room(error) or error from error
        failpoint("director.submit.unpacked")
        experiment = f"{plan.name[:48]}-{secrets.token_hex(4)}"
        files = self.settings.files.experiment(experiment)
        try:
            _furnish(files, plan, staging, incoming)
            self.stores.experiment(files).close()
            sync_names(files.directory, files.directory.parent)
            return self._enqueue(experiment, plan, caller, submission)
        finally:
            known = self.store.requested(caller, submission.request_id)
            if known is None or known.id != experiment:  # the disk was full, or the same request was quicker
                files.remove()
                ExperimentFiles(staging).remove()

    def _enqueue(self, experiment: str, plan: Plan, caller: str, submission: Submission) -> ExperimentSummary:
        summary = ExperimentSummary(
            id=experiment,
            name=plan.name,
            status=Status.QUEUED,
            reason="",
            owner=caller,
            submitted_at=time.time(),
            plan_digest=plan_digest(plan),
        )
        stored = StoredExperiment(summary, submission.manifest.digest, submission.signature, submission.certificates)
        return self.store.add(submission.request_id, stored)


def _furnish(files: ExperimentFiles, plan: Plan, staging: Path, incoming: Path) -> None:
    """Give everything of an experiment its place."""
    files.directory.mkdir(parents=True, mode=0o700)
    files.prepare()
    failpoint("director.submit.directory")
    staging.rename(files.directory / "workspace")
    failpoint("director.submit.workspace")
    incoming.rename(files.bundle)
    failpoint("director.submit.bundle")
    files.plan.write_bytes(freeze(plan))
    failpoint("director.submit.plan")
