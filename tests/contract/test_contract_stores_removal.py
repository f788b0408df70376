"""What every memory of a Director promises of an experiment that is removed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import DirectorStore
from tests.contract.test_contract_stores import ENDED, EVERY, OPEN, queued


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
