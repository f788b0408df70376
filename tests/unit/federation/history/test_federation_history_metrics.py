from openfl_like.federation.announcements import Announced, Announcement, RoundFinished, UpdateLost, UpdateReceived
from openfl_like.federation.history.metrics import MetricRecord, metric_records
from openfl_like.federation.task import Phase


def history(*announcements: Announcement) -> list[Announced]:
    return [Announced(number, float(number), told) for number, told in enumerate(announcements, 1)]


def update(site: str, loss: float, phase: Phase = Phase.TRAIN, samples: int = 10) -> UpdateReceived:
    return UpdateReceived(1, phase, site, samples, {"train": {"loss": loss}})


FINISHED = RoundFinished(1, "d", {"validate.loss": 0.5, "loss": 0.25})


def test_of_each_finished_round_the_values_over_all_sites() -> None:
    events = history(update("bern", 0.125), FINISHED, RoundFinished(2, "e", {"loss": 0.0}))
    assert metric_records(events) == [
        MetricRecord(1, "", "", "loss", 0.25),
        MetricRecord(1, "", "", "validate.loss", 0.5),
        MetricRecord(2, "", "", "loss", 0.0),
    ]


def test_of_each_site_what_it_reported_and_an_update_that_was_lost_counts_when_it_came_again() -> None:
    lost = UpdateLost(1, Phase.TRAIN, "bern")
    evaluated = UpdateReceived(1, Phase.EVALUATE, "bern", 4, {"validate": {"loss": 2.0, "auc": 1.0}})
    of_another = update("bern", 7.0, Phase.CROSS_EVALUATE)
    trained = update("zurich", 1.0), update("bern", 9.0), lost, update("bern", 0.5)
    events = history(*trained, of_another, evaluated, FINISHED)
    assert metric_records(events, per_site=True) == [
        MetricRecord(1, "bern", "validate", "auc", 1.0, 4),
        MetricRecord(1, "bern", "validate", "loss", 2.0, 4),
        MetricRecord(1, "bern", "train", "loss", 0.5, 10),
        MetricRecord(1, "zurich", "train", "loss", 1.0, 10),
    ]
    assert metric_records(history(update("bern", 9.0), lost), per_site=True) == []
