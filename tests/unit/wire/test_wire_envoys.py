"""What is told of one envoy comes out of its message as it went in."""

from hypothesis import given
from hypothesis import strategies as st

from openfl_like.federation.parties import EnvoyDetail, EnvoyRecord, Series, ShardFacts
from openfl_like.wire.envoys import detail_from, detail_to
from openfl_like.wire.protos import federation_pb2 as pb

number = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def series(draw: st.DrawFn) -> Series:
    times = tuple(draw(st.lists(number, max_size=4)))
    column = st.lists(st.none() | number, min_size=len(times), max_size=len(times)).map(tuple)
    return Series(draw(number), times, draw(st.dictionaries(st.sampled_from("abc"), column, max_size=3)))


moments = st.none() | number
records = st.builds(
    EnvoyRecord,
    st.just("bern"),
    st.booleans(),
    number,
    st.just(ShardFacts((1,), (), "digits", {"counts": {"train": 1}})),
    online_since=moments,
    certificate_ends=moments,
)


@given(st.builds(EnvoyDetail, records, st.lists(series(), max_size=2).map(tuple)))
def test_a_detail_survives_its_message(detail: EnvoyDetail) -> None:
    assert detail_from(pb.EnvoyDetail.FromString(detail_to(detail).SerializeToString())) == detail
