"""The error tree: every failure a user can meet, with a stable code.

    FederationError
    ├── UsageError                 E100  a command was given words it cannot use
    ├── PlanError                  E101  the plan has mistakes (all of them listed)
    ├── SettingsError              E102  director.yaml or shard.yaml has a mistake
    ├── BundleError                E103  a workspace archive is unsafe or damaged
    ├── TensorError                E104  a model file is malformed or does not fit
    ├── TransferError              E105  bytes were lost or changed on the way
    ├── CredentialError            E201  a certificate or key file cannot be used
    ├── UnauthenticatedError       E202  the peer's identity could not be established
    ├── NotAllowedError            E203  the peer's role may not do this
    ├── CertificateExpiredError    E204  the peer's certificate is out of date
    ├── RevokedError               E205  the peer's certificate was revoked
    ├── VersionError               E206  the peer is of another version
    ├── NotFoundError              E301  no such experiment, envoy, version
    ├── ConflictError              E302  the present state does not allow this
    ├── ShardMismatchError         E303  a shard does not fit the federation's data interface
    ├── RoundClosedError           E304  the update came after its round had closed
    ├── UpdateRefusedError         E305  the update failed its checks
    ├── DamagedError               E306  a file of the record is damaged or has lost something
    ├── StorageError               E307  there is no room on a disk
    ├── NameTakenError             E308  a collaborator of this name is connected already
    ├── ModelTooLargeError         E309  a site was offered a model larger than it takes
    ├── UnreachableError           E401  the other side does not answer
    ├── ExperimentFailedError      E501  the experiment ended FAILED
    ├── ExperimentCancelledError   E502  the experiment was cancelled
    ├── TaskError                  E503  a task raised or its worker died
    ├── ShardError                 E504  the shard descriptor raised or gave unusable data
    ├── ExperimentDegradedError    E505  the experiment finished on fewer sites than were asked
    ├── RequirementsError          E506  the packages of a workspace could not be installed at a site
    ├── DeviceError                E507  a site does not give the device that the plan asks for
    ├── SandboxError               E508  a site requires a sandbox that its kernel does not offer
    ├── StudyError                 E509  a study ended with runs that failed, or learnt nothing
    ├── DryRunError                E510  a dry run has found what would go wrong
    ├── WorkspacePartError         E511  a part of a round that the workspace brings failed
    └── InternalError              E900  a defect in the platform itself

Each class says its cause and its cure; the pages in docs/reference/errors are made from that. The table in
`openfl_like.error_meanings` ties each class to its gRPC status, HTTP status and exit code.
"""

import errno
from typing import ClassVar


class FederationError(Exception):
    """Base of every error the platform raises on purpose.

    Args:
        message: What went wrong, in one sentence.
        place: Where: a file with line, a YAML path, a peer; or empty.
        cure: What the reader can do about it; empty where nothing helps.
        problems: Every mistake, where there may be several.
    """

    code: ClassVar[str] = "E000"

    def __init__(self, message: str, *, place: str = "", cure: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.place, self.cure, self.problems = message, place, cure, problems

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        text = f"{text} ({self.cure})" if self.cure else text
        return "\n".join([text, *(f"  - {problem}" for problem in self.problems)])


class UsageError(FederationError):
    """A command was given an option or argument that it cannot use.

    Cause: A word of the command line is misspelt, an option has a value it cannot take, or a file name is missing
    where there is more than one to choose from.

    Cure: Read the message, it names the word; ``--help`` after any command lists its options.
    """

    code = "E100"


class PlanError(FederationError):
    """The plan has mistakes; the message lists all of them with YAML path and line.

    Cause: A key is unknown or misspelt, a value has the wrong type or is out of range, or two values contradict
    each other.

    Cure: Correct each line of the list; ``fx plan check plan.yaml`` shows whether any is left. Every key is in
    docs/reference/plan.md.
    """

    code = "E101"


class SettingsError(FederationError):
    """A settings file (director.yaml, shard.yaml) or a study is missing or has mistakes; the message lists all of them.

    Cause: A key of the file is unknown, missing or out of range, or the file is not where the command looks for it.

    Cure: Correct each line of the list; ``fx doctor`` lists them, with everything else that a daemon would stumble
    over, without starting anything. Those of a study are listed before its first run.
    """

    code = "E102"


class BundleError(FederationError):
    """A workspace archive or a checkpoint is unsafe (path, link, size) or does not have the promised digest.

    Cause: The workspace holds a link, an odd file name or too many bytes; or what arrived is not what was signed; or
    a checkpoint is damaged, or its parts do not fit each other.

    Cure: The message names the file: rename it, or move it out of the workspace. Data and models belong into
    ``data/`` and ``save/``, which are never packed. Export a damaged checkpoint again.
    """

    code = "E103"


class TensorError(FederationError):
    """A model file is malformed, or its names, shapes or dtypes are not the agreed ones.

    Cause: The initial model is not from this model's code, or the file was cut or changed.

    Cure: Compare names, shapes and dtypes in the message with the model's code; make the file again with the code
    that the plan names.
    """

    code = "E104"


class TransferError(FederationError):
    """A transfer ended early or its bytes do not have the promised digest.

    Cause: The connection broke, the disk was full, or the other process ended.

    Cure: Nothing is needed for an update: what has arrived is kept and only the rest is sent again. For your own
    download, give the command again; if it stays, look at the free space on both sides.
    """

    code = "E105"


class CredentialError(FederationError):
    """A certificate or key file is missing, unreadable, readable by others, or of the wrong role.

    Cause: The folder is not the right one, the file has a mode other than 0600, or the certificate is not for this
    role or name.

    Cure: ``fx pki inspect FOLDER`` says what is in it; ``chmod 600 key.pem`` where others could read it; ``fx pki
    issue`` makes a new one.
    """

    code = "E201"


class UnauthenticatedError(FederationError):
    """The peer showed no certificate of this federation, so nothing is served to it.

    Cause: The certificates of both sides are not from the same federation, or the process at that address is not
    the one that was meant.

    Cure: Compare both sides with ``fx pki inspect``: the federation in the identity must be the same, and both
    folders must hold the same ``root.pem``.
    """

    code = "E202"


class NotAllowedError(FederationError):
    """The peer is known, but the role table does not give its role this call.

    Cause: A certificate of the wrong role is used, for example an envoy's to submit; or one that was issued for
    another experiment.

    Cure: Use a certificate of a role that the message names; who may do what is in docs/reference/calls.md.
    """

    code = "E203"


class CertificateExpiredError(FederationError):
    """The peer's certificate is expired or not yet valid.

    Cause: The certificate's time is over, or the clock of one machine is wrong.

    Cure: ``fx pki inspect`` shows the dates. One that is still valid is renewed by ``fx pki renew FOLDER``; one that is
    over is made anew, with a new token (``fx pki enroll``) or by ``fx pki issue --replace``. Or set the clock.
    """

    code = "E204"


class RevokedError(FederationError):
    """The peer's certificate was revoked, so nothing is served to it any more.

    Cause: The administrator of the federation's authority has revoked all certificates of this name: its key was lost
    or copied, or it does not belong to the federation any more.

    Cure: Ask the administrator. Whoever is to come back gets a new token (``fx pki token``), enrols with it
    (``fx pki enroll``), and starts again; the old key stays worthless.
    """

    code = "E205"


class VersionError(FederationError):
    """The peer is of another version of the platform, whose protocol this one does not speak.

    Cause: One side was updated and the other was not; the first two numbers of both versions must be the same.

    Cure: The message names both versions: install the same on both sides, Director first; experiments go on.
    """

    code = "E206"


class NotFoundError(FederationError):
    """There is no experiment, envoy, model version or file of that name.

    Cause: The name is misspelt, or what it named is not kept any more.

    Cure: List what there is: ``fx experiment list``, ``fx envoy list``, ``fx experiment show ID``. For old models raise
    ``model_store.keep.last`` in the plan.
    """

    code = "E301"


class ConflictError(FederationError):
    """The request does not fit the present state, for example cancelling an ended experiment.

    Cause: The experiment has already ended, the port or the state directory belongs to another process, a site of
    this name is connected already, or the directory is not empty.

    Cure: The message names what is in the way. Two sites of one name mean that a key was copied: give each site its
    own.
    """

    code = "E302"


class NameTakenError(ConflictError):
    """A collaborator of this name is connected already.

    Cause: The site's former connection is not known to be broken yet, or a second process uses its certificate.

    Cure: A Collaborator tries again by itself. Stop the other process; if there is none of yours, the key was copied:
    revoke it with ``fx pki revoke``.
    """

    code = "E308"


class ModelTooLargeError(FederationError):
    """A site was offered a model that is larger than it takes; no byte of it was stored.

    Cause: The model has more bytes than ``limits.model_gb`` in the site's shard.yaml, which is 20 GB without it.

    Cure: The message has the experiment and both sizes. If the model is meant to be that large, have
    ``limits.model_gb`` raised at the site, then submit again or ``fx experiment resume ID``; if not, mend what makes
    it so large.
    """

    code = "E309"


class ShardMismatchError(FederationError):
    """The envoy's shard has another sample or target shape than the federation agreed on, or another data interface.

    Cause: The shard descriptor gives samples of another shape, director.yaml has the wrong one, or ``interface`` in the
    shard.yaml is none of the federation's ``interfaces``.

    Cure: The message has both shapes: change the shard descriptor at the site, or ``sample_shape`` and
    ``target_shape`` in director.yaml. Or it has the names of the interfaces: write one of them into the shard.yaml.
    """

    code = "E303"


class RoundClosedError(FederationError):
    """The update belongs to a round that is not open any more.

    Cause: The site needed longer than the round waited, or its assignment was withdrawn.

    Cure: Nothing: the site takes part in the next round. Where it happens often, raise ``deadline.round_s``.
    """

    code = "E304"


class UpdateRefusedError(FederationError):
    """The update's tensors, counts or digest failed a check; the global model is unchanged.

    Cause: The update has other tensors than the model, holds NaN or infinity, is larger than it can be, or has
    impossible counts.

    Cure: Look at the site's training (``fx experiment logs ID --site NAME``): too high a learning rate gives NaN.
    """

    code = "E305"


class DamagedError(FederationError):
    """A file of the record is not what was written: cut, changed, or without its newest part.

    Cause: The disk or its file system lost or changed bytes, somebody wrote to the file, or one file of a backup was
    put back without those that belong to it.

    Cure: The message names the file. Stop the process, put the whole directory of that file back from a backup, a
    database together with its ``-wal`` and ``-mark``, and start again; an experiment that FAILED over it is then taken
    up by ``fx experiment resume``. Nothing is guessed: what is damaged is not used. See "What is damaged" in
    docs/operations.md.
    """

    code = "E306"


class StorageError(FederationError):
    """There is no room on a disk, so nothing was acknowledged that is not stored.

    Cause: The disk, or a quota, is used up at the Director or at a site; the message says where.

    Cure: Make room: directories of ended experiments may be deleted. Whatever waits goes on by itself within some
    seconds, nothing has to be started again; ``fx status`` shows whether the Director still lacks room.
    """

    code = "E307"


class UnreachableError(FederationError):
    """The other side could not be reached or stopped answering.

    Cause: The address is wrong, the process is not running, or a firewall is in between.

    Cure: Check the address, then Director and firewall: 50050 and the Aggregators' ports must be open on its host.
    """

    code = "E401"


class ExperimentFailedError(FederationError):
    """The experiment ended FAILED; the reason names the site and the cause.

    Cause: Too few sites were there, a task raised at a site, or the updates could not be combined.

    Cure: The reason is in the message; ``fx experiment why ID`` names the first cause, with the log of that site. Mend
    it; then submit again or, where nothing of the plan has to change, ``fx experiment resume ID``.
    """

    code = "E501"


class ExperimentCancelledError(FederationError):
    """The experiment was cancelled before it finished.

    Cause: Somebody cancelled it, or the process that ran it was stopped by a signal.

    Cure: Submit it again if it should run; the versions that were published until then can still be fetched.
    """

    code = "E502"


class TaskError(FederationError):
    """A task of the submitted workspace raised, or the worker that ran it died.

    Cause: Code of the workspace raised, needs a package that the site lacks, or took more memory than there is.

    Cure: The message names the task, the exception and the line; ``fx simulate`` runs the same code in one process.
    """

    code = "E503"


class ShardError(FederationError):
    """The shard descriptor could not be loaded, raised, or gave data that does not fit its schema.

    Cause: The template in shard.yaml is unknown, a parameter is wrong, a package with the data is not installed, or
    the data is not what the descriptor promises.

    Cure: Correct shard.yaml or the data at the site, or install there what the message names. An envoy that runs looks
    again by itself when shard.yaml or a file that it names has changed; one that has ended over it is started again,
    and so is one that lacked a package.
    """

    code = "E504"


class ExperimentDegradedError(FederationError):
    """The experiment FINISHED, but rounds were made or evaluated without sites that were asked.

    Cause: The plan's quorum let rounds go on when a site was away, failed in a task, or was too late; or a model was
    made by all, and a site did not evaluate it, so that its metrics are those of fewer sites.

    Cure: The message names each site with the first round or evaluation without it and the reason. The model is there
    and can be fetched; if it must come from all sites, leave ``participation.policy`` at ``exact``: such a round fails.
    """

    code = "E505"


class RequirementsError(FederationError):
    """The packages that a workspace asks for could not be installed at a site; what is there is unchanged.

    Cause: ``requirements.lock`` has something else than exact versions with hashes, a wheel of it is not where the site
    looks, has another hash, or exists as source only; or installing took too long.

    Cure: The message has the last lines of pip, ``fx experiment logs ID --site NAME`` all of them. Make the lock anew
    with ``fx workspace lock``, or have the site put the wheels into its wheelhouse; source is never built.
    """

    code = "E506"


class DeviceError(FederationError):
    """The site does not give the worker a device that the plan asks for.

    Cause: ``collaborator.settings.device`` in the plan names a GPU that the site does not have, that its monitors do
    not find, or that its shard.yaml does not allow for workers.

    Cure: The message has what is wanted and what the site gives. Ask for ``auto`` or for a list with ``cpu`` at its end
    in the plan, or have ``devices`` in the site's shard.yaml changed; ``fx envoy show NAME`` shows its GPUs.
    """

    code = "E507"


class SandboxError(FederationError):
    """The site requires that workers are confined, and its kernel cannot do that; nothing submitted was loaded.

    Cause: ``sandbox: required`` in the site's shard.yaml, and Landlock from Linux 6.2 on or a seccomp filter for this
    kind of processor is missing, switched off, or kept from containers.

    Cure: The message names what is missing. Use a newer kernel, add ``landlock`` to the boot parameter ``lsm=``, or let
    the container use it; ``fx doctor envoy`` tries every wall. ``sandbox: best`` takes what there is.
    """

    code = "E508"


class StudyError(FederationError):
    """A study has ended, but not all of it is as it should be; what it has is kept.

    Cause: Runs failed, were killed, or gave no value of the metric; equal seeds differ; or nothing was learnt anywhere.

    Cure: ``fx study show`` names them; ``fx study run`` takes up killed ones, ``--retry-failed`` begins others anew.
    """

    code = "E509"


class DryRunError(FederationError):
    """A dry run has found what would go wrong: the experiment would fail, learn nothing, or be refused by a site.

    Cause: What the report says of each: the code, the plan, or the sites that the plan asks for.

    Cure: Each line of the report has its own; mend them, and give the command again. docs/dry-run.md lists what there
    is to find.
    """

    code = "E510"


class WorkspacePartError(FederationError):
    """A part of a round that the workspace brings, such as a selector or a rule, did not do what it is for.

    Cause: It raised, died, did not answer in time, or answered what it may not: unknown names, another shape, NaN.

    Cure: Mend the part that the message names, and try ``fx simulate``. In a round it ends as E501, with exit code 1.
    """

    code = "E511"


class InternalError(FederationError):
    """A defect in the platform: please report it with the log around it.

    Cause: The platform did something that its authors did not foresee; the code of a workspace is not the reason.

    Cure: Run the command again with ``--debug``, or look into the log of its process, and report both.
    """

    code = "E900"


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def no_room(error: BaseException, place: str = "") -> StorageError | None:
    """Return a StorageError if this error, or one that caused it, says that a disk is full (at ``place``) else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageError):
            return cause
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            told, cure = "there is no room on the disk", "make room; it goes on by itself then"
            return StorageError(told, place=str(cause.filename or place), cure=cure)
        cause = cause.__cause__ or cause.__context__
    return None
