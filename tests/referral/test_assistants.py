"""AI assistants are a source of their own."""

import pytest
from clew.credit.channels import channel_of
from clew.referral.assistants import assistant_of
from clew.referral.touches import Touch


@pytest.mark.parametrize(
    ("referrer", "source", "name"),
    [
        ("https://chatgpt.com/", "", "chatgpt"),
        ("https://www.perplexity.ai/search/mugs", "", "perplexity"),
        ("https://gemini.google.com/app", "", "gemini"),
        ("https://copilot.microsoft.com/", "", "copilot"),
        ("https://claude.ai/chat/1", "", "claude"),
        ("android-app://com.openai.chatgpt/", "", "chatgpt"),
        ("", "chatgpt.com", "chatgpt"),
        ("", "Perplexity", "perplexity"),
        ("", "perplexity.ai", "perplexity"),
        ("https://www.google.com/", "chatgpt.com", "chatgpt"),
        ("https://www.google.com/", "", ""),
        ("https://notchatgpt.com/", "", ""),
        ("https://chatgpt.com.evil.example/", "", ""),
        ("https://[bad", "", ""),
        ("", "newsletter", ""),
        ("", "", ""),
    ],
)
def test_the_assistant_is_read_from_referrer_and_utm_source(referrer: str, source: str, name: str) -> None:
    touch = Touch(1, (), {"utm_source": source} if source else {}, referrer, "/")
    assert assistant_of(touch) == name
    assert (channel_of(touch) == "ai") == (name != "")
