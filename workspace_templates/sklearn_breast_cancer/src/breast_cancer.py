"""Breast tumours, benign or malignant: a linear model of scikit-learn."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.sklearn import SklearnRunner


class BreastCancerRunner(SklearnRunner):
    """Logistic regression by stochastic gradient descent.

    Args:
        loader: Tumours of the site.
        context: Where to work.
        alpha: Penalty on large weights.
        lr: Learning rate.
    """

    def __init__(
        self, loader: DataLoader[np.ndarray], context: RunnerContext, *, alpha: float = 0.001, lr: float = 0.01
    ) -> None:
        super().__init__(loader, context)
        self._alpha = alpha
        self._lr = lr

    def build_estimator(self) -> SGDClassifier:
        """One output: the log-odds of a benign tumour."""
        return SGDClassifier(loss="log_loss", alpha=self._alpha, learning_rate="constant", eta0=self._lr)
