"""What version 0.1.0 left behind, at the Director and at a site, is taken up and goes on to the same bytes.

`tests/assets/records/version-0.1.0.tar.xz` holds a Director's state with an experiment that is FINISHED, one that was
cancelled, one that FAILED and one that waits in the queue, and the folder of one of its sites. Keys are not in it, so
that the submitter's signatures are made anew with those of the test's own federation.
"""

import hashlib
import sqlite3
import tarfile
from pathlib import Path

import pytest
from federations import ASSETS, THREE, User, fx_fine

from openfl_like.pki.files import load_credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.services.local_federation import LocalFederation
from openfl_like.store.sqlite.rows import checksum

pytestmark = pytest.mark.process
RECORD = ASSETS / "records" / "version-0.1.0.tar.xz"
# SHA-256 of the last model after 150 and after 5 rounds, as version 0.1.0 itself simulates these plans.
MANY = "f5eaa8540fe948c148d67d16a402ca3dc720bb222814645696be3c35a8361c6f"
FIVE = "b2560146cdca33ce11d60a74c45bf18b32915932e039523abed0870b9945a349"


def submit_again(state: Path, credentials: Path) -> None:
    """Sign every bundle with the key of this test's user, as its owner would have done."""
    ours = load_credentials(credentials)
    connection = sqlite3.connect(state / "director.db")
    connection.row_factory = sqlite3.Row
    with connection:
        for row in connection.execute("SELECT * FROM experiments").fetchall():
            values = dict(row) | {
                "signature": sign_bundle(row["bundle"], ours).hex(),
                "certificates": ours.chain.decode(),
            }
            del values["checksum"]
            connection.execute(
                "UPDATE experiments SET signature = ?, certificates = ?, checksum = ? WHERE id = ?",
                (values["signature"], values["certificates"], checksum(values.values()), row["id"]),
            )
    connection.close()


@pytest.mark.long
async def test_what_the_version_before_left_behind_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    local = LocalFederation(tmp_path / "federation", THREE, (1,), ())
    local.directory.mkdir()
    with tarfile.open(RECORD) as archive:
        archive.extractall(local.directory, filter="data")
    local.make_certificates()
    submit_again(local.state, local.user_certificates)
    try:
        await local.start_director()
        for site in THREE:
            await local.start_envoy(site)
        user = User(local, tmp_path)
        async with user.client:
            known = {summary.status.value: summary for summary in await user.client.experiments()}
            finished, cancelled, failed = (known[status].id for status in ("FINISHED", "CANCELLED", "FAILED"))
            (waiting,) = {summary.id for summary in known.values()} - {finished, cancelled, failed}
            assert (await user.client.experiment(finished)).versions[-1].sha256
            why = await fx_fine("experiment", "why", failed, "--json", federation=local)
            assert "site-3" in why
            for experiment in (cancelled, failed):
                await user.client.resume(experiment)
            for experiment in (waiting, cancelled, failed):
                assert (await user.ended(experiment)).status == "FINISHED"
                model = tmp_path / f"{experiment}.safetensors"
                await user.client.model(experiment, "last", model)
                assert hashlib.sha256(model.read_bytes()).hexdigest() == (FIVE if experiment == waiting else MANY)
    finally:
        await local.__aexit__()
