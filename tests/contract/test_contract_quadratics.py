"""Where algorithms end on heterogeneous quadratics, after unequal numbers of local steps, is what their papers say."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.algorithms import FedCurvServer, FedDynServer, FedNovaServer, ScaffoldServer
from openfl_like.frameworks.algorithms.ditto import Ditto
from openfl_like.frameworks.algorithms.fedcurv import FedCurv
from openfl_like.frameworks.algorithms.feddyn import FedDyn
from openfl_like.frameworks.algorithms.fednova import FedNova
from openfl_like.frameworks.algorithms.fedprox import FedProx
from openfl_like.frameworks.algorithms.mime import Mime, MimeLite
from openfl_like.frameworks.algorithms.per_fedavg import PerFedAvg
from openfl_like.frameworks.algorithms.scaffold import Scaffold
from tests.contract.quadratics import (
    CENTRES,
    CURVATURES,
    MINIMISER,
    RATE,
    STEPS,
    Build,
    Federation,
    NumpySite,
    Site,
    fixed_point,
)
from tests.frameworks import marks_of


def torch_site(curvature: float, centre: float) -> Site:
    from tests.contract.torch_models import QuadraticSite  # noqa: PLC0415 - imported by its own run only

    return QuadraticSite(curvature, centre, RATE)


def keras_site(curvature: float, centre: float) -> Site:
    from tests.contract.keras_models import QuadraticSite  # noqa: PLC0415 - imported by its own run only

    return QuadraticSite(curvature, centre, RATE)


BUILDS = {"numpy": NumpySite, "torch": torch_site, "keras": keras_site}
every = pytest.mark.parametrize(
    "build", [pytest.param(build, id=name, marks=marks_of(name)) for name, build in BUILDS.items()]
)
MOVED = 1 - (1 - RATE * CURVATURES) ** STEPS
"""How far each site comes on its way to its own minimum in a round."""


@every
def test_federated_averaging_ends_beside_the_minimum_where_it_should(tmp_path: Path, build: Build) -> None:
    found = Federation(tmp_path, build, lambda: FedProx(mu=0.0)).ends(80)
    assert found == pytest.approx(fixed_point(MOVED), abs=1e-9)
    assert abs(found - MINIMISER) > 0.5


@every
@pytest.mark.parametrize(("mu", "rounds"), [(0.1, 80), (1.0, 100), (10.0, 250)])
def test_fedprox_is_as_far_from_it_as_its_formula_says(tmp_path: Path, build: Build, mu: float, rounds: int) -> None:
    found = Federation(tmp_path, build, lambda: FedProx(mu=mu)).ends(rounds)
    pulled = CURVATURES / (CURVATURES + mu) * (1 - (1 - RATE * (CURVATURES + mu)) ** STEPS)
    assert found == pytest.approx(fixed_point(pulled), abs=1e-9)


def test_the_stronger_fedprox_pulls_the_nearer_it_ends(tmp_path: Path) -> None:
    """With so many steps that each site ends where its own objective has its minimum."""
    away = [
        abs(Federation(tmp_path, NumpySite, partial(FedProx, mu=mu), steps=[100] * 4).ends(100) - MINIMISER)
        for mu in (0.0, 0.5, 2.0, 8.0)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < away[0] / 4


@every
@pytest.mark.parametrize("pull", [0.0, 0.5, 4.0])
def test_ditto_keeps_each_site_between_its_own_minimum_and_the_global_model(
    tmp_path: Path, build: Build, pull: float
) -> None:
    """The global model is that of averaging; a/2 (v - c)^2 + lambda/2 (v - w)^2 has its minimum in between."""
    found, kept = Federation(tmp_path, build, lambda: Ditto(pull=pull, rate=0.1)).leaves(300)
    assert found == pytest.approx(fixed_point(MOVED), abs=1e-9)
    own = [float(Ditto(pull=pull).personal(state)["x"][0]) for state in kept]
    assert own == pytest.approx(list((CURVATURES * CENTRES + pull * found) / (CURVATURES + pull)), abs=1e-6)


def curved(pull: float, rounds: int, per_round: int) -> float:
    """FedCurv by hand (arXiv:1910.07796, section 3), where the Fisher information of a site is its squared gradient."""
    drawn, x, told = np.random.default_rng(5), 0.5, dict[int, tuple[float, float]]()
    for _ in range(rounds):
        chosen, found = sorted(drawn.choice(4, per_round, replace=False)), dict[int, tuple[float, float]]()
        ends = []
        for site in chosen:
            a, c, y = CURVATURES[site], CENTRES[site], x
            others = [pair for other, pair in told.items() if other != site]
            for _ in range(STEPS[site]):
                y -= RATE * (a * (y - c) + 2 * pull * sum(fisher * (y - there) for fisher, there in others))
            found[site] = (a * (y - c)) ** 2, y
            ends.append(y)
        x, told = float(np.mean(ends)), found
    return x


@every
@pytest.mark.parametrize("per_round", [4, 2], ids=["all", "half"])
@pytest.mark.parametrize("pull", [0.01, 0.05])
def test_fedcurv_is_its_formula_whoever_takes_part(tmp_path: Path, build: Build, pull: float, per_round: int) -> None:
    server = FedCurvServer(pull=pull)
    found = Federation(tmp_path, build, lambda: FedCurv(pull=pull), server).ends(12, per_round)
    assert found == pytest.approx(curved(pull, 12, per_round), abs=1e-9)
    assert abs(found - curved(0.0, 12, per_round)) > 1e-3


def test_fedcurv_without_pull_ends_where_averaging_does(tmp_path: Path) -> None:
    found = Federation(tmp_path, NumpySite, lambda: FedCurv(pull=0.0), FedCurvServer(pull=0.0)).ends(80)
    assert found == pytest.approx(fixed_point(MOVED), abs=1e-9)


@every
@pytest.mark.parametrize("per_round", [4, 2])
def test_scaffold_ends_in_the_minimum(tmp_path: Path, build: Build, per_round: int) -> None:
    found = Federation(tmp_path, build, Scaffold, ScaffoldServer()).ends(150, per_round)
    assert found == pytest.approx(MINIMISER, abs=1e-6)


@every
@pytest.mark.parametrize("per_round", [4, 2])
def test_feddyn_ends_in_the_minimum(tmp_path: Path, build: Build, per_round: int) -> None:
    federation = Federation(tmp_path, build, lambda: FedDyn(alpha=1.0), FedDynServer(alpha=1.0), [20] * 4)
    assert federation.ends(150, per_round) == pytest.approx(MINIMISER, abs=1e-6)


@every
def test_fednova_ends_where_its_own_objective_has_its_minimum(tmp_path: Path, build: Build) -> None:
    found = Federation(tmp_path, build, FedNova, FedNovaServer()).ends(100)
    assert found == pytest.approx(fixed_point(MOVED / STEPS), abs=1e-9)
    assert abs(found - MINIMISER) > 0.5


@every
@pytest.mark.parametrize(("momentum", "rounds"), [(0.0, 60), (0.5, 80), (0.9, 400)])
def test_mime_ends_in_the_minimum(tmp_path: Path, build: Build, momentum: float, rounds: int) -> None:
    found = Federation(tmp_path, build, lambda: Mime(momentum=momentum)).ends(rounds)
    assert found == pytest.approx(MINIMISER, abs=1e-6)


def test_mime_with_half_of_the_sites_goes_about_the_minimum(tmp_path: Path) -> None:
    """Its correction is then a sample of the sites', as in the paper, and so is where it steers to."""
    federation = Federation(tmp_path, NumpySite, lambda: Mime(momentum=0.9))
    places = np.array([federation.ends(rounds, 2) for rounds in range(200, 260, 3)])
    assert places.std() > 1e-3
    assert abs(places.mean() - MINIMISER) < 0.5
    plain = Federation(tmp_path, NumpySite, lambda: FedProx(mu=0.0))
    assert abs(np.mean([plain.ends(rounds, 2) for rounds in range(200, 260, 3)]) - MINIMISER) > 0.5


@every
def test_mimelite_ends_where_its_frozen_momentum_balances_the_sites(tmp_path: Path, build: Build) -> None:
    """In rest the momentum is the gradient of all, A (x - x*), and a site goes to where its steps come to nothing."""
    beta, mean = 0.5, CURVATURES.mean()
    found = Federation(tmp_path, build, lambda: MimeLite(momentum=beta)).ends(80)
    slopes = (1 - beta) * CURVATURES
    come = 1 - (1 - RATE * slopes) ** STEPS
    # the sum of come_i (c_i - beta A (x - x*) / slopes_i - x) is zero
    pull = come * beta * mean / slopes
    expected = float((come * CENTRES + pull * MINIMISER).sum() / (come + pull).sum())
    assert found == pytest.approx(expected, abs=1e-9)
    assert abs(found - MINIMISER) > 0.1


@every
@pytest.mark.parametrize("delta", [0.0, 0.1], ids=["first order", "with differences of gradients"])
def test_per_fedavg_ends_where_its_meta_objective_has_its_minimum(tmp_path: Path, build: Build, delta: float) -> None:
    """With one step in a round: the objective after a site's own step is a (1 - alpha a)^2 / 2 (x - c)^2."""
    alpha = 0.15
    federation = Federation(tmp_path, build, lambda: PerFedAvg(alpha=alpha, delta=delta), steps=[1] * 4)
    found = federation.ends(500)
    slopes = CURVATURES * (1 - alpha * CURVATURES) ** (2 if delta else 1)
    assert found == pytest.approx(fixed_point(slopes), abs=1e-6)
    assert abs(found - MINIMISER) > 0.3


def test_the_bias_of_fednova_goes_with_the_rate() -> None:
    moves = [(1 - (1 - rate * CURVATURES) ** STEPS) / STEPS for rate in (0.1, 0.01, 0.001)]
    away = [abs(fixed_point(moved) - MINIMISER) for moved in moves]
    assert away[2] < away[1] / 5 < away[0] / 25
    assert np.isclose(fixed_point(STEPS * CURVATURES), fixed_point(MOVED), atol=1.0)
