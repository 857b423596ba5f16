"""What to do with a finding: sentences from a policy file, chosen by the verdict and the abstentions.

    policy = load_action_policy()                  # the general one that ships with earwitness
    policy = find_action_policy("newsroom")        # another that ships, or the path of your own
    recommend(policy, output.verdict, output.abstentions)

An organisation replaces the file, not the code. Nothing here looks at a recording.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from earwitness.errors import ActionPolicyError
from earwitness.finding import Abstention, Verdict

POLICY_FORMAT = 1
DEFAULT_POLICY = "policies/recommended-actions.json"
SHIPPED_POLICIES = {
    "general": DEFAULT_POLICY,
    "newsroom": "policies/newsroom.json",
    "fraud-desk": "policies/fraud-desk.json",
}
"""By the name that users give; each is a file to copy and to change."""
MAX_POLICY_BYTES = 1 << 20  # a page of rules; anything larger is the wrong file


@dataclass(frozen=True, slots=True)
class Action:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ActionRule:
    """Applies where the verdict is one of `verdicts` or any abstention is one of `abstentions`."""

    verdicts: frozenset[Verdict]
    abstentions: frozenset[Abstention]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class ActionPolicy:
    version: str
    rules: tuple[ActionRule, ...]


def load_action_policy(path: Path | None = None) -> ActionPolicy:
    """Read and check a policy file; without a path, the one that ships.

    Raises ActionPolicyError for a file that is missing, ill-formed, or leaves a verdict without an action.
    """
    try:
        if path is None:
            text = _shipped(DEFAULT_POLICY)
        else:
            if path.stat().st_size > MAX_POLICY_BYTES:
                raise ActionPolicyError(f"{path} is larger than {MAX_POLICY_BYTES} bytes: not an action policy")
            text = path.read_text(encoding="utf-8")
        return parse_action_policy(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ActionPolicyError(f"the action policy {path or DEFAULT_POLICY} can't be read: {error}") from error


def find_action_policy(named: str) -> ActionPolicy:
    """The policy that ships under the name `named`, else the file at that path. Raises ActionPolicyError."""
    if named in SHIPPED_POLICIES:
        return parse_action_policy(_shipped(SHIPPED_POLICIES[named]))
    if not Path(named).exists():
        raise ActionPolicyError(
            f"there is no action policy {named!r}: name one of {', '.join(SHIPPED_POLICIES)} or a file"
        )
    return load_action_policy(Path(named))


def parse_action_policy(text: str) -> ActionPolicy:
    """The policy in `text`; anything unknown, missing or ill-typed raises ActionPolicyError."""
    try:
        raw = json.loads(text)
        if raw["policy_format"] != POLICY_FORMAT:
            raise ValueError(f"policy_format is {raw['policy_format']}, this program reads {POLICY_FORMAT}")
        rules = tuple(_rule(entry) for entry in raw["rules"])
        policy = ActionPolicy(version=str(raw["policy_version"]), rules=rules)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ActionPolicyError(f"the action policy is ill-formed: {error!r}") from error
    for verdict in Verdict:
        if not any(verdict in rule.verdicts for rule in rules):
            raise ActionPolicyError(f"the action policy says nothing for the verdict {verdict}: add a rule")
    return policy


def recommend(
    policy: ActionPolicy, verdict: Verdict, abstentions: Collection[Abstention] = ()
) -> tuple[Action, ...]:
    """The actions of every rule that applies, in the file's order, each once."""
    chosen: dict[str, Action] = {}
    for rule in policy.rules:
        if verdict in rule.verdicts or rule.abstentions.intersection(abstentions):
            for action in rule.actions:
                chosen.setdefault(action.id, action)
    return tuple(chosen.values())


def _shipped(name: str) -> str:
    return resources.files("earwitness").joinpath(name).read_text(encoding="utf-8")


def _rule(raw: dict[str, Any]) -> ActionRule:
    unknown = raw.keys() - {"verdicts", "abstentions", "actions"}
    if unknown:
        raise ValueError(f"unknown keys in a rule: {', '.join(sorted(unknown))}")
    actions = tuple(Action(id=str(entry["id"]), text=str(entry["text"])) for entry in raw["actions"])
    if not actions:
        raise ValueError("a rule without actions")
    verdicts = frozenset(Verdict(name) for name in raw.get("verdicts", ()))
    abstentions = frozenset(Abstention(name) for name in raw.get("abstentions", ()))
    if not verdicts and not abstentions:
        raise ValueError("a rule must name a verdict or an abstention")
    return ActionRule(verdicts, abstentions, actions)
