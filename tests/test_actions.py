import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.actions import (
    MAX_POLICY_BYTES,
    SHIPPED_POLICIES,
    Action,
    find_action_policy,
    load_action_policy,
    parse_action_policy,
    recommend,
)
from earwitness.errors import ActionPolicyError
from earwitness.finding import Abstention, Verdict

DO = {"id": "do", "text": "Do it."}
ALL_VERDICTS = [verdict.value for verdict in Verdict]


def policy_text(*rules: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"policy_format": 1, "policy_version": "test", "rules": rules, **changes})


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_shipped_policy_has_advice_for_every_verdict(verdict: Verdict) -> None:
    assert recommend(load_action_policy(), verdict)


@pytest.mark.parametrize("reason", list(Abstention))
def test_the_shipped_policy_has_advice_for_every_abstention(reason: Abstention) -> None:
    policy = load_action_policy()
    with_reason = recommend(policy, Verdict.SUSPICIOUS, (reason,))
    assert set(with_reason) > set(recommend(policy, Verdict.SUSPICIOUS))


def test_an_action_that_two_rules_name_comes_once() -> None:
    rules = ({"verdicts": ALL_VERDICTS, "actions": [DO]}, {"abstentions": ["too_short"], "actions": [DO]})
    policy = parse_action_policy(policy_text(*rules))
    assert recommend(policy, Verdict.SUSPICIOUS, (Abstention.TOO_SHORT,)) == (Action("do", "Do it."),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "ill-formed"),
        ("[]", "ill-formed"),
        (policy_text({"verdicts": ALL_VERDICTS, "actions": [DO]}, policy_format=2), "policy_format is 2"),
        (policy_text({"verdicts": ["MAYBE"], "actions": [DO]}), "MAYBE"),
        (policy_text({"verdicts": ALL_VERDICTS, "actions": []}), "without actions"),
        (policy_text({"actions": [DO]}), "must name a verdict"),
        (policy_text({"verdicts": ALL_VERDICTS, "colour": 1, "actions": [DO]}), "colour"),
        (policy_text({"verdicts": ["DEEPFAKE"], "actions": [DO]}), "nothing for the verdict AUTHENTIC"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ActionPolicyError, match=message):
        parse_action_policy(text)


def test_ones_own_policy_replaces_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy_text({"verdicts": ALL_VERDICTS, "actions": [DO]}))
    assert load_action_policy(path).version == "test"


def test_a_missing_or_huge_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ActionPolicyError, match="can't be read"):
        load_action_policy(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (MAX_POLICY_BYTES + 1))
    with pytest.raises(ActionPolicyError, match="larger than"):
        load_action_policy(huge)


@pytest.mark.parametrize("name", SHIPPED_POLICIES)
def test_every_shipped_policy_has_actions_for_every_verdict_and_every_reason(name: str) -> None:
    policy = find_action_policy(name)

    for verdict in Verdict:
        assert recommend(policy, verdict)
    usual = recommend(policy, Verdict.SUSPICIOUS)
    for reason in Abstention:
        assert recommend(policy, Verdict.SUSPICIOUS, (reason,))
    for reason in (Abstention.TOO_SHORT, Abstention.TOO_NOISY, Abstention.NO_AUDIO_TRACK):
        assert len(recommend(policy, Verdict.SUSPICIOUS, (reason,))) > len(usual)


def test_the_shipped_policies_are_told_apart_by_version() -> None:
    assert len({find_action_policy(name).version for name in SHIPPED_POLICIES}) == len(SHIPPED_POLICIES) == 3


def test_a_newsroom_holds_the_story_and_a_fraud_desk_the_payment() -> None:
    newsroom = {action.id for action in recommend(find_action_policy("newsroom"), Verdict.DEEPFAKE)}
    fraud_desk = {action.id for action in recommend(find_action_policy("fraud-desk"), Verdict.DEEPFAKE)}

    assert "hold" in newsroom and "no_sole_evidence" in newsroom
    assert "stop_payment" in fraud_desk and "call_back" in fraud_desk


def test_an_unknown_policy_name_says_which_there_are() -> None:
    with pytest.raises(ActionPolicyError, match="general, newsroom, fraud-desk"):
        find_action_policy("courtroom")


def test_a_policy_is_found_by_path_too(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy_text({"verdicts": ALL_VERDICTS, "actions": [DO]}))

    assert find_action_policy(str(path)).version == "test"
