"""Which secrets are refused, and that no random one ever is."""

import random
import string

import pytest
from clew.settings.weak import weakness

WEAK = [
    "a" * 32,
    "x" * 200,
    "ab" * 20,
    "abcabcabcabcabcabcabcabcabcabcabcabc",
    "aaaaaaaabbbbbbbbccccccccdddddddd",
    "change-me-change-me-change-me-please-0",
    "CHANGE_ME_8f3kQ0zLw7Xc5Vb1Nm9As2Df4Gh6Jk",
    "changeme8f3kQ0zLw7Xc5Vb1Nm9As2Df4Gh6Jk",
    "please-change-this-to-something-of-yours",
    "example-0f8h3k1l9m2n7b5v4c6x8z0a1s3d5f7g",
    "my-very-secret-key-for-the-shop-0000001",
    "secret_8f3kQ0zLw7Xc5Vb1Nm9As2Df4Gh6Jk",
    "your-key-here-8f3kQ0zLw7Xc5Vb1Nm9As2Df",
    "placeholder8f3kQ0zLw7Xc5Vb1Nm9As2Df4Gh",
    "password8f3kQ0zLw7Xc5Vb1Nm9As2Df4Gh6Jk",
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "12345678901234567890123456789012",
    "qwertyuiopasdfghjklzxcvbnm1234567890",
    "--------------------------------",
    " " * 40,
]


@pytest.mark.parametrize("secret", WEAK)
def test_guessable_secrets_are_refused(secret: str) -> None:
    """field E17"""
    why = weakness(secret, 32)
    assert why is not None
    assert secret not in why


@pytest.mark.parametrize(
    "token", ["a" * 16, "abcabcabcabcabcabc", "change-me-please", "0123456789abcdef", "short"]
)
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    """field E17"""
    assert weakness(token, 16) is not None


@pytest.mark.parametrize(
    ("length", "least", "alphabet"),
    [
        (43, 32, string.ascii_letters + string.digits + "-_"),
        (16, 16, string.ascii_letters + string.digits + "-_"),
        (32, 32, string.hexdigits[:16]),
        (16, 16, string.hexdigits[:16]),
        (128, 32, string.hexdigits[:16]),
        (40, 32, string.ascii_lowercase),
    ],
)
def test_random_secrets_are_accepted(length: int, least: int, alphabet: str) -> None:
    """field E17: the same 5,000 secrets in each run."""
    chance = random.Random(f"{length} of {alphabet}")
    for _ in range(5000):
        secret = "".join(chance.choices(alphabet, k=length))
        assert weakness(secret, least) is None, secret
