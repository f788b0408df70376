from openfl_like.store.sqlite.log_length import LONG_LOG_BYTES, LogLength


def _commit(log: LogLength, times: int) -> None:
    for _ in range(times):
        log.committed()


def test_a_log_that_was_never_moved_is_as_long_as_its_file() -> None:
    log = LogLength()
    _commit(log, 1000)
    assert not log.is_long(LONG_LOG_BYTES)
    assert log.is_long(LONG_LOG_BYTES + 1)


def test_a_log_that_begins_anew_is_long_after_as_many_transactions_as_before() -> None:
    log, file_bytes = LogLength(), 2 * LONG_LOG_BYTES
    _commit(log, 30)
    log.moved(2 * LONG_LOG_BYTES, file_bytes)
    _commit(log, 14)
    assert not log.is_long(file_bytes)
    _commit(log, 1)
    assert log.is_long(file_bytes)


def test_transactions_that_became_larger_show_in_the_file() -> None:
    log = LogLength()
    _commit(log, 1000)
    log.moved(LONG_LOG_BYTES, LONG_LOG_BYTES)
    _commit(log, 1)
    assert not log.is_long(2 * LONG_LOG_BYTES)
    assert log.is_long(2 * LONG_LOG_BYTES + 1)


def test_one_transaction_may_be_a_long_log() -> None:
    log = LogLength()
    _commit(log, 1)
    log.moved(10 * LONG_LOG_BYTES, 10 * LONG_LOG_BYTES)
    assert not log.is_long(10 * LONG_LOG_BYTES)
    _commit(log, 1)
    assert log.is_long(10 * LONG_LOG_BYTES)
