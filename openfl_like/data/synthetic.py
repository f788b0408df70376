"""Invented data whose sites differ as much as is asked for, so that there may be as many as a simulation wants."""

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import ShardError
from openfl_like.federation.seeds import derive_seed

_RANGE_SIGMAS = 12.0  # the standard deviations beyond which a value does not come in the lifetime of a machine


class SyntheticShard(ArrayShard):
    """Classification of normally distributed features: samples ``[features]`` float32, targets int64 scalars.

    Synthetic(alpha, beta) of Li et al. 2020 ("Federated Optimization in Heterogeneous Networks", section 5.1): site k
    labels by a linear model of its own, y = argmax(Wx + b), with W and b drawn from N(u, 1), u from N(0, alpha); its
    features come from N(v, S), v from N(B, 1), B from N(0, beta), S diagonal with j to the power of -1.2. With both at
    0 the sites' models and features differ least; ``iid`` has all sites alike. The data of a site depends on nothing
    but these params and its number.

    Args:
        site: The number of the site, from 1.
        alpha: How much the sites' models differ.
        beta: How much the sites' features differ.
        iid: Whether all sites have the same model and the same distribution of features.
        samples: How many a site trains on; with ``spread`` the median.
        spread: Standard deviation of the logarithm of that number over the sites; 0: all have as many.
        held_out: How many are held out.
        features: How many numbers a sample has.
        classes: How many classes there are.
        seed: Of every draw.
    """

    def __init__(  # noqa: PLR0913 - the params of a shard.yaml
        self,
        site: int = 1,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        iid: bool = False,
        samples: int = 100,
        spread: float = 0.0,
        held_out: int = 20,
        features: int = 60,
        classes: int = 10,
        seed: int = 0,
    ) -> None:
        _check(site=site, samples=samples, held_out=held_out, features=features, classes=classes)
        if alpha < 0 or beta < 0 or spread < 0:
            raise ShardError("alpha, beta and spread are not negative")
        shared = np.random.default_rng(derive_seed(seed, "all sites"))
        own = np.random.default_rng(derive_seed(seed, site))
        source = shared if iid else own
        model_mean = 0.0 if iid else float(own.normal(0.0, np.sqrt(alpha)))
        feature_mean = np.zeros(features) if iid else own.normal(own.normal(0.0, np.sqrt(beta)), 1.0, features)
        weights = source.normal(model_mean, 1.0, (features, classes))
        bias = source.normal(model_mean, 1.0, classes)
        size = samples if not spread else max(1, round(samples * float(np.exp(own.normal(0.0, spread)))))
        scale = np.arange(1, features + 1) ** -0.6  # the square root of the variances
        drawn = own.normal(feature_mean, scale, (size + held_out, features)).astype(np.float32)
        targets = (drawn @ weights + bias).argmax(axis=1).astype(np.int64)
        most = _RANGE_SIGMAS * float(np.sqrt(2.0 + beta))
        super().__init__(
            {"train": Dataset(drawn[:size], targets[:size]), "validate": Dataset(drawn[size:], targets[size:])},
            description=f"Invented: Synthetic({alpha:g}, {beta:g}) of Li et al. 2020, site {site}.",
            sample_range=(-most, most),
            classes=classes,
        )


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ShardError(f"'{name}' is {count}; it is at least 1")
