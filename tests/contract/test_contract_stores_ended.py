"""What every memory of a Director promises of an experiment that has ended: it may be queued again, or removed."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import RESUMABLE, DirectorStore
from tests.contract.test_contract_stores import ENDED, EVERY, LEFT, OPEN, queued


@pytest.fixture(params=EVERY)
def director(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DirectorStore]:
    with closing(EVERY[request.param]().director(DirectorFiles(tmp_path))) as opened:
        yield opened


@pytest.mark.parametrize("ended", ENDED)
def test_what_was_removed_is_not_there_nor_the_request_that_made_it(director: DirectorStore, ended: Status) -> None:
    director.add("00ff", queued("one"))
    director.add("ff00", queued("two"))
    director.set_status("one", ended, "the reason", 20.0)
    director.remove("one")
    assert [item.id for item in director.experiments()] == ["two"]
    assert director.requested("alice", "00ff") is None
    director.verify()
    with pytest.raises(NotFoundError):
        director.experiment("one")
    assert director.add("00ff", queued("one")).id == "one"


@pytest.mark.parametrize("status", OPEN)
def test_what_has_not_ended_cannot_be_removed(director: DirectorStore, status: Status) -> None:
    director.add("00ff", queued("one"))
    director.set_status("one", status, "", 20.0)
    with pytest.raises(ConflictError, match=f"'one' is {status}; only one that has ended can be removed"):
        director.remove("one")
    director.require("one")


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
