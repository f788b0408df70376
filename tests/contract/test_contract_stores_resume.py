"""What every memory of a Director promises of an experiment that is resumed."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import RESUMABLE, DirectorStore
from tests.contract.test_contract_stores import EVERY, LEFT, OPEN, queued


@pytest.fixture(params=EVERY)
def director(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DirectorStore]:
    with closing(EVERY[request.param]().director(DirectorFiles(tmp_path))) as opened:
        yield opened


@pytest.mark.parametrize("ended", RESUMABLE)
def test_what_did_not_finish_can_be_queued_again(director: DirectorStore, ended: Status) -> None:
    director.add("00ff", queued("one"))
    director.set_status("one", Status.STARTING, "", 10.0)
    director.set_status("one", ended, "the reason", 20.0, {"bern": LEFT})
    again = director.requeue("one", "bob")
    assert again == replace(queued("one").summary, resumed_by="bob", started_at=10.0)
    assert director.experiment("one").summary == again
    assert director.set_status("one", Status.STARTING, "", 25.0).resumed_by == ""
    assert director.set_status("one", Status.FINISHED, "all rounds", 30.0).ended_at == 30.0


@pytest.mark.parametrize("status", [*OPEN, Status.FINISHED])
def test_nothing_else_can_be_queued_again(director: DirectorStore, status: Status) -> None:
    director.add("00ff", queued("one"))
    before = director.set_status("one", status, "the reason", 20.0)
    with pytest.raises(ConflictError, match=f"'one' is {status}; only one that FAILED or was CANCELLED") as caught:
        director.requeue("one", "bob")
    assert ("submit its plan again" in caught.value.cure) is status.ended
    assert director.experiment("one").summary == before
