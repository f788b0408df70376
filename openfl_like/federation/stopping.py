"""When an experiment ends by itself, which version is the best one, and which ones are kept."""

from collections.abc import Mapping, Sequence

from openfl_like.federation.events import ModelVersion
from openfl_like.federation.validation.verdict import ModelRejected
from openfl_like.plan.schema import Plan, StopRule


def is_best(plan: Plan, history: Sequence[ModelVersion], metrics: Mapping[str, float]) -> bool:
    """Whether a version with these metrics is better than all before it; a tie keeps the earlier one."""
    best = plan.model_store.best
    if best.metric not in metrics:
        return False
    former = _newest_best(history)
    if former is None or best.metric not in former.metrics:
        return True
    value, before = metrics[best.metric], former.metrics[best.metric]
    return value > before if best.mode == "max" else value < before


def _newest_best(history: Sequence[ModelVersion]) -> ModelVersion | None:
    """The best of all: whoever is marked was better than all before it."""
    return next((version for version in reversed(history) if version.best), None)


def rejection(plan: Plan, history: Sequence[ModelVersion], made: ModelVersion) -> ModelRejected | None:
    """Say why a round's model must not go on; None if it may.

    A model that nobody could measure is rejected once another one was measured.

    Args:
        plan: Its ``model_store`` says by how much the metric may be worse than the best one.
        history: Every version before, the initial one first.
        made: The round's model, with its metrics.
    """
    wanted, margin = plan.model_store.best, plan.model_store.accepted_margin
    former = _newest_best(history)
    if margin is None or former is None or not made.round or wanted.metric not in former.metrics:
        return None
    best, value = former.metrics[wanted.metric], made.metrics.get(wanted.metric)
    if value is not None and (best - value if wanted.mode == "max" else value - best) <= margin:
        return None
    kept, metrics = history[-1].digest, dict(made.metrics)
    return ModelRejected(made.round, made.digest, kept, wanted.metric, value, best, margin, metrics)


def metrics_wanted(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the metrics that a plan which trains goes by, with the keys that name them."""
    if not any(task.is_training for task in plan.tasks.values()):
        return {}
    named = [(plan.model_store.best.metric, "model_store.best.metric")]
    if plan.model_store.accepted_margin is not None:
        named.append((plan.model_store.best.metric, "model_store.accepted_margin"))
    for section, rules in (("any", plan.stop.any), ("all", plan.stop.all)):
        for index, rule in enumerate(rules):
            if rule.metric is not None:
                named.append((rule.metric, f"stop.{section}[{index}].metric"))
            if rule.loss_max is not None:
                named.append(("loss", f"stop.{section}[{index}].loss_max"))
            if rule.patience is not None:
                named.append((plan.model_store.best.metric, f"stop.{section}[{index}].patience"))
    return {metric: tuple(key for name, key in named if name == metric) for metric, _ in named}


def metrics_lacked(plan: Plan, version: ModelVersion) -> dict[str, tuple[str, ...]]:
    """Return the metrics that the plan goes by and a trained version lacks, with the keys that name them."""
    wanted = metrics_wanted(plan) if version.round else {}
    return {metric: keys for metric, keys in wanted.items() if metric not in version.metrics}


def metrics_missing(plan: Plan, history: Sequence[ModelVersion]) -> dict[str, tuple[str, ...]]:
    """Return the metrics that the plan goes by and the newest version lacks, with the keys that name them.

    Only those that the version before it had, if that was trained, too: the others have been missing since then.

    Args:
        plan: The plan.
        history: Every published version, the initial one first.
    """
    before = history[-2] if len(history) > 1 and history[-2].round else None
    lacked = metrics_lacked(plan, history[-1])
    return {metric: keys for metric, keys in lacked.items() if before is None or metric in before.metrics}


def settled_round(plan: Plan, newest: int) -> int:
    """Return the last round of which no update can count any more, once this version is published."""
    return newest - plan.mode.most_staleness


def kept_rounds(plan: Plan, history: Sequence[ModelVersion]) -> set[int]:
    """Return the rounds whose models are kept: the newest ones, and the best one; or all."""
    keep = plan.model_store.keep
    if keep == "all":
        return {version.round for version in history}
    last = max(keep.last, plan.mode.most_staleness + 1)  # sites may train on any of these still
    newest = {version.round for version in history[-last:]}
    best = _newest_best(history)
    return newest if best is None else newest | {best.round}


def goes_by_traffic(plan: Plan) -> bool:
    """Whether a stop rule counts the bytes of models and updates."""
    return any(rule.traffic_bytes is not None for rule in (*plan.stop.any, *plan.stop.all))


def stop_reason(plan: Plan, history: Sequence[ModelVersion], seconds: float = 0.0, moved_bytes: int = 0) -> str:
    """Say why no further round is to run; empty to go on.

    Args:
        plan: Its ``stop`` rules and ``rounds_to_train`` count.
        history: Every published version, the initial one first.
        seconds: What the rounds took together.
        moved_bytes: What models and updates have come to so far; see `TrafficCount`.
    """
    if not history:
        return ""
    done, planned = history[-1].round, plan.aggregator.settings.rounds
    if planned is not None and done >= planned:
        return f"{done} of {planned} rounds are done"
    for rule in plan.stop.any:
        reason = _met(rule, history, seconds, moved_bytes)
        if reason:
            return reason
    reasons = [_met(rule, history, seconds, moved_bytes) for rule in plan.stop.all]
    return " and ".join(reasons) if reasons and all(reasons) else ""


def _met(rule: StopRule, history: Sequence[ModelVersion], seconds: float, moved_bytes: int) -> str:
    if rule.traffic_bytes is not None:
        planned = rule.traffic_bytes
        told = f"models and updates came to {moved_bytes:,} bytes, {planned:,} were planned"
        return told if moved_bytes >= planned else ""
    if rule.wall_s is not None:
        return f"the rounds took {seconds:.4g} s, {rule.wall_s:g} s were planned" if seconds >= rule.wall_s else ""
    if rule.rounds is not None:
        return f"{rule.rounds} rounds are done" if history[-1].round >= rule.rounds else ""
    if rule.patience is not None:
        return _patience_over(rule.patience, history)
    if rule.loss_max is not None:
        return _within("loss", None, rule.loss_max, history[-1].metrics)
    return _within(rule.metric, rule.min, rule.max, history[-1].metrics) if rule.metric else ""


def _within(metric: str, low: float | None, high: float | None, metrics: Mapping[str, float]) -> str:
    value = metrics.get(metric)
    if value is None or (low is None and high is None):
        return ""
    if (low is not None and value < low) or (high is not None and value > high):
        return ""
    bounds = [f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:g}"] if high is not None else []
    return f"{metric} is {value:g}, {' and '.join(bounds)} was wanted"


def _patience_over(patience: int, history: Sequence[ModelVersion]) -> str:
    """Without any best version the metric is not measured, and nothing can be said about it."""
    best = _newest_best(history)
    if best is None or history[-1].round - best.round < patience:
        return ""
    return f"no better model for {patience} rounds"
