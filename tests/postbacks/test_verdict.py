from email.utils import formatdate

import pytest
from clew.postbacks.call import Call
from clew.postbacks.render import ANY_2XX
from clew.postbacks.verdict import (
    ANSWER_LENGTH,
    Answered,
    NotSent,
    Unanswered,
    Verdict,
    judge,
    judge_each,
    settle,
)
from clew.referral.calls import Answer, Each, Success
from hypothesis import given
from hypothesis import strategies as st

NOW = 1763860000.0
SCHEDULE = [5, 30, 90]
TUNE = Success(ok=Answer((200, 299), contains="success=true;"))
GRAPHQL = Success(ok=Answer((200, 299), pointer="/errors"))
CODED = Success(
    ok=Answer((200, 299), pointer="/data/0/code", equals=(0,)), already=Answer((422, 422), contains="taken")
)


def call(success: Success = ANY_2XX, *, gone: bool = False) -> Call:
    return Call("GET", "https://p.example/", {}, b"", "GET https://p.example/", success, gone=gone)


def outcome(
    answered: Answered, success: Success = ANY_2XX, *, repeats: bool = False, gone: bool = False
) -> str:
    return judge(call(success, gone=gone), answered, NOW, repeats=repeats).outcome


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (301, "dead"),
        (307, "dead"),
        (400, "dead"),
        (401, "dead"),
        (404, "dead"),
        (410, "dead"),
        (408, "retry"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (503, "retry"),
        (599, "retry"),
    ],
)
def test_each_status_has_its_outcome(status: int, expected: str) -> None:
    assert outcome(Answered(status)) == expected


def test_a_network_that_redirects_after_taking_the_order_has_it() -> None:
    assert outcome(Answered(302), Success(ok=Answer((200, 399)))) == "delivered"


def test_status_200_is_not_enough_where_the_body_decides() -> None:
    assert outcome(Answered(200, b"success=true;\n"), TUNE) == "delivered"
    assert outcome(Answered(200, b"success=false; err_msg=Invalid transaction"), TUNE) == "dead"
    assert outcome(Answered(200, b""), TUNE) == "dead"
    assert outcome(Answered(503, b"success=true;"), TUNE) == "retry"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"data":{}}', "delivered"),
        (b'{"errors":[],"data":{}}', "delivered"),
        (b'{"errors":null}', "delivered"),
        (b'{"errors":[{"message":"no"}]}', "dead"),
        (b"<html>", "dead"),
    ],
)
def test_errors_in_a_graphql_body_are_failures(body: bytes, expected: str) -> None:
    assert outcome(Answered(200, body), GRAPHQL) == expected


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (Answered(200, b'{"data":[{"code":0}]}'), "delivered"),
        (Answered(200, b'{"data":[{"code":7}]}'), "dead"),
        (Answered(200, b'{"data":[]}'), "dead"),
        (Answered(200, b"[]"), "dead"),
        (Answered(422, b"external_id taken"), "delivered"),
        (Answered(422, b"bad amount"), "dead"),
    ],
)
def test_a_pointer_and_an_answer_that_it_is_there_already(answered: Answered, expected: str) -> None:
    assert outcome(answered, CODED) == expected


def test_a_response_aborted_before_its_confirmation_is_unknown() -> None:
    broken = Answered(200, b"succ", complete=False)
    assert outcome(broken, TUNE) == "unknown"
    assert outcome(broken, TUNE, repeats=True) == "retry"
    assert outcome(Answered(200, b"success=true; and more", complete=False), TUNE) == "delivered"
    assert outcome(Answered(200, b"any", complete=False)) == "delivered"


def test_no_answer_is_unknown_unless_repeats_are_safe() -> None:
    assert judge(call(), Unanswered("reset"), NOW, repeats=False).outcome == "unknown"
    assert judge(call(), Unanswered("reset"), NOW, repeats=True).outcome == "retry"


def test_unsent_calls_are_retried_unless_they_can_never_be_sent() -> None:
    assert judge(call(), NotSent("refused"), NOW, repeats=False).outcome == "retry"
    assert judge(call(), NotSent("bad port", for_good=True), NOW, repeats=True).outcome == "dead"


def test_a_webhook_response_of_410_is_final() -> None:
    assert "no more" in judge(call(gone=True), Answered(410), NOW, repeats=True).answer


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, 86400),
        (formatdate(NOW + 600, usegmt=True), 600),
        (formatdate(NOW - 600, usegmt=True), 0),
        ("Fri, 01 Jan 9999 00:00:00 GMT", 86400),
        ("Sun, 06 Nov 1994 08:49:37", 0),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_retry_after_is_honoured_up_to_a_day(header: str | None, wait: float) -> None:
    assert judge(call(), Answered(429, retry_after=header), NOW, repeats=False).wait == wait


@given(st.text(max_size=40))
def test_any_retry_after_is_a_bounded_wait(header: str) -> None:
    assert 0 <= judge(call(), Answered(503, retry_after=header), NOW, repeats=False).wait <= 86400


@given(st.binary(max_size=2000))
def test_an_answer_is_kept_short_and_without_control_characters(body: bytes) -> None:
    answer = judge(call(), Answered(404, body), NOW, repeats=False).answer
    assert len(answer) <= ANSWER_LENGTH
    assert answer.isprintable()


def test_retries_follow_the_schedule_and_then_the_postback_is_dead() -> None:
    later = Verdict("retry", "503")
    due = [settle(later, attempt, NOW, SCHEDULE, 0.0) for attempt in (1, 2, 3, 4)]
    assert due == [("due", NOW + 5), ("due", NOW + 30), ("due", NOW + 90), ("dead", NOW)]


def test_giving_up_after_calls_without_an_answer_leaves_it_unknown() -> None:
    assert settle(Verdict("retry", "timeout", unsure=True), 4, NOW, SCHEDULE, 0.0) == ("unknown", NOW)


def test_retry_after_can_lengthen_but_not_shorten_the_wait() -> None:
    assert settle(Verdict("retry", "", wait=600), 1, NOW, SCHEDULE, 0.0) == ("due", NOW + 600)
    assert settle(Verdict("retry", "", wait=1), 3, NOW, SCHEDULE, 0.0) == ("due", NOW + 90)


def test_retries_are_spread_by_up_to_a_fifth() -> None:
    assert settle(Verdict("retry", ""), 2, NOW, SCHEDULE, 1.0) == ("due", NOW + 36)


@pytest.mark.parametrize("done", ["delivered", "dead", "unknown"])
def test_a_finished_postback_is_not_due_again(done: str) -> None:
    assert settle(Verdict(done, ""), 1, NOW, SCHEDULE, 0.5) == (done, NOW)  # type: ignore[arg-type]


def several(each: Each, *orders: str, body: str, repeats: bool = False) -> list[tuple[str, str]]:
    """Outcome and words of each report of a call."""
    made = Call("POST", "https://p.example/", {}, b"", "", Success(Answer((200, 299)), each=each), orders)
    found = judge_each(made, Answered(200, body.encode()), NOW, repeats=repeats)
    return [(verdict.outcome, verdict.answer) for verdict in found]


BY_INDEX = Each("/errors", index="/at/0/index", failed=True, pointer="/code", later=("BUSY",), text="/why")


def test_failures_name_their_reports_by_index() -> None:
    bad = '{"at":[{"index":2}],"code":"BAD","why":"bad click"}'
    body = f'{{"errors":[{bad},{{"at":[{{"index":0}}],"code":"BUSY"}}],"n":1}}'
    found = several(BY_INDEX, "a", "b", "c", body=body)
    assert [outcome for outcome, _ in found] == ["retry", "delivered", "dead"]
    assert found[2][1] == "bad click"
    for nothing in ('{"errors":[]}', '{"errors":null}', "{}"):
        assert [outcome for outcome, _ in several(BY_INDEX, "a", "b", body=nothing)] == ["delivered"] * 2


@pytest.mark.parametrize(
    "body",
    [
        '{"errors":[{"code":"BAD","why":"bad click"}]}',
        '{"errors":[{"at":[{"index":7}],"why":"bad click"}]}',
        '{"errors":[{"at":[{"index":-1}],"why":"bad click"}]}',
        '{"errors":[{"at":[{"index":true}],"why":"bad click"}]}',
        '{"errors":[{"at":[{"index":"0"}],"why":"bad click"}]}',
        '{"errors":{"why":"bad click"}}',
    ],
)
def test_a_failure_that_names_no_report_is_nobodys_success(body: str) -> None:
    assert [outcome for outcome, _ in several(BY_INDEX, "a", "b", body=body)] == ["unknown", "unknown"]
    safe = several(BY_INDEX, "a", "b", body=body, repeats=True)
    assert [outcome for outcome, _ in safe] == ["retry", "retry"]
    assert "one of several reports was refused" in safe[0][1]
    assert "bad click" in safe[0][1]
    assert several(BY_INDEX, "a", body=body)[0][0] == "dead"


def test_a_failure_without_a_name_leaves_the_verdict_of_those_that_are_named() -> None:
    body = '{"errors":[{"at":[{"index":1}],"code":"BAD"},{"code":"ODD"}]}'
    found = several(BY_INDEX, "a", "b", "c", body=body)
    assert [outcome for outcome, _ in found] == ["unknown", "dead", "unknown"]


@pytest.mark.parametrize(
    "wait",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 99999999999999999:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
    ],
)
def test_a_time_that_no_clock_shows_is_no_time_to_wait(wait: str) -> None:
    found = judge(call(), Answered(429, retry_after=wait), NOW, repeats=False)
    assert found == judge(call(), Answered(429), NOW, repeats=False)
