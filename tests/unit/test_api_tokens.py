"""Tokens, codes and rate limits of the API."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api.limits import RateLimit
from hub.api.tokens import SESSION_S, BadToken, Tokens, new_api_key, new_code, normal_code

TOKENS = Tokens(b"p" * 32)


def test_a_token_gives_its_values_back() -> None:
    assert TOKENS.unpack("x", TOKENS.pack("x", ["a", 1, None]), 3) == ["a", 1, None]


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda b: b.hex()))
def test_an_invented_token_is_refused(text: str) -> None:
    with pytest.raises(BadToken):
        TOKENS.unpack("x", text, 1)


@given(st.integers(0, 10_000), st.integers(1, 127))
def test_a_changed_token_is_refused(at: int, change: int) -> None:
    token = TOKENS.pack("x", ["some value", 5])
    at %= len(token)
    changed = token[:at] + chr((ord(token[at]) ^ change) & 127) + token[at + 1 :]
    if changed != token:
        with pytest.raises(BadToken):
            TOKENS.unpack("x", changed, 2)


def test_a_token_is_good_for_its_purpose_and_its_pepper_alone() -> None:
    token = TOKENS.pack("x", [1])
    for tokens, purpose in ((TOKENS, "y"), (Tokens(b"q" * 32), "x")):
        with pytest.raises(BadToken):
            tokens.unpack(purpose, token, 1)


def test_a_session_expires() -> None:
    org, key = uuid.uuid4(), uuid.uuid4()
    token = TOKENS.session(org, key, 1000)
    assert TOKENS.read_session(token, 1000 + SESSION_S - 1) == (org, key)
    with pytest.raises(BadToken):
        TOKENS.read_session(token, 1000 + SESSION_S)


def test_the_pepper_is_not_in_the_repr() -> None:
    assert "ppp" not in repr(TOKENS)


def test_keys_and_codes_are_new_each_time_and_codes_bear_being_typed() -> None:
    assert len({new_api_key() for _ in range(50)}) == len({new_code() for _ in range(50)}) == 50
    code = new_code()
    assert normal_code(f" {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')}\n") == code


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, clock=lambda: now[0])
    assert [limit.take("k").is_allowed for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [limit.take("k").is_allowed for _ in range(2)] == [True, False]
    now[0] = 100
    assert limit.take("k").remaining == 2


def test_buckets_do_not_mix_and_are_bounded() -> None:
    limit = RateLimit(1, 1, names=2, clock=lambda: 0.0)
    assert limit.take("a").is_allowed and limit.take("b").is_allowed and not limit.take("b").is_allowed
    limit.take("c")
    assert len(limit._buckets) == 2
