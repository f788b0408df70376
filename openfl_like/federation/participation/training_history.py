"""What is remembered of the sites' training, for selectors that go by it."""

from dataclasses import dataclass, replace

from openfl_like.federation.task import Update

MOST_LOSS = 1e30
"""A site may tell any number: squares and sums of more would be none."""
LEAST_S, MOST_S = 1e-6, 1e9
"""Seconds of a training, whatever a site tells: what is shorter or longer is no time that anybody takes."""
MOST_BATCHES = 10**9
MOST_TRAININGS = 32
"""Of a site, the newest ones: a snapshot holds them all."""


@dataclass(frozen=True, slots=True)
class PastTraining:
    """One training of a site.

    Attributes:
        round: In which round.
        round_s: Seconds from when the round asked its sites until the answer was here.
        training_s: Seconds that the site says it has worked.
        loss: Of its training, by its own account, from -1e30 to 1e30; None: it told none.
        num_samples: How many samples it trained on.
        batches: In how many batches; 0: it does not say.
        update_bytes: The size of the update's file, as it came; 0: it is not known.
        energy_j: Joules that the device drew for it; None: nobody measures that.
    """

    round: int
    round_s: float
    training_s: float
    loss: float | None
    num_samples: int
    batches: int = 0
    update_bytes: int = 0
    energy_j: float | None = None

    @property
    def transfer_s(self) -> float:
        """Seconds that it took besides: mostly the model's way there and back."""
        return max(0.0, self.round_s - self.training_s)


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """What is known of a site.

    Attributes:
        asked: In how many rounds it was asked to train.
        trainings: Its newest trainings, the oldest first.
        missed: In how many rounds it was asked since the last of these.
        answered: How many trainings have come of it.
        worked_s: Seconds that it says it has worked for all of these.
        energy_j: Joules that were drawn for them, as far as they are known.
        sketch: Of its newest update that passed its checks; empty: nobody goes by it.
    """

    asked: int = 0
    trainings: tuple[PastTraining, ...] = ()
    missed: int = 0
    answered: int = 0
    worked_s: float = 0.0
    energy_j: float = 0.0
    sketch: tuple[float, ...] = ()

    def asked_again(self) -> "TrainingHistory":
        """Return the history of a site that is asked once more."""
        return replace(self, asked=self.asked + 1, missed=self.missed + 1)

    def asked_beside(self) -> "TrainingHistory":
        """Return the history of a site that is asked once more, and trains for as long as it takes."""
        return replace(self, asked=self.asked + 1)

    def missed_again(self) -> "TrainingHistory":
        """Return the history of a site of whose training nothing came."""
        return replace(self, missed=self.missed + 1)

    def called_off(self) -> "TrainingHistory":
        """Return the history of a site whose training was broken off, through no fault of its own."""
        return replace(self, asked=max(0, self.asked - 1), missed=max(0, self.missed - 1))

    def seen(self, training: PastTraining) -> "TrainingHistory":
        """Return the history with one more training."""
        return replace(
            self,
            trainings=(*self.trainings, training)[-MOST_TRAININGS:],
            missed=0,
            answered=self.answered + 1,
            worked_s=min(MOST_S, self.worked_s + training.training_s),
            energy_j=self.energy_j + (training.energy_j or 0.0),
        )

    def lost(self, number: int) -> "TrainingHistory":
        """Return the history as it was before the training of a round was seen, of which what was kept is damaged."""
        last = self.last
        if last is None or last.round != number:
            return self
        return replace(
            self,
            trainings=self.trainings[:-1],
            missed=self.missed + 1,
            answered=max(0, self.answered - 1),
            worked_s=max(0.0, self.worked_s - last.training_s),
            energy_j=max(0.0, self.energy_j - (last.energy_j or 0.0)),
        )

    @property
    def last(self) -> PastTraining | None:
        """The newest training."""
        return self.trainings[-1] if self.trainings else None


UNKNOWN = TrainingHistory()
"""The history of a site of which nothing is known."""


def past_training(update: Update, round_s: float, update_bytes: int = 0, energy_j: float | None = None) -> PastTraining:
    """Return what an update says of its site's training.

    Args:
        update: Checked; its metrics are finite.
        round_s: Seconds since the round asked for it.
        update_bytes: The size of its file.
        energy_j: Joules that the device drew for it; None: nobody measures that.
    """
    losses = [metrics["loss"] for metrics in update.metrics.values() if "loss" in metrics]
    loss = max(-MOST_LOSS, min(MOST_LOSS, losses[0])) if losses else None
    training_s = min(MOST_S, max(LEAST_S, update.duration_s)) if update.duration_s else 0.0
    batches = min(MOST_BATCHES, update.batches)
    return PastTraining(
        update.round,
        min(MOST_S, round_s),
        training_s,
        loss,
        update.num_samples,
        batches,
        update_bytes,
        energy_j,
    )
