"""What a run was made with: written into its row when it ends, read back whenever a report on it is issued.

    run.method = recorded(installation, verdict, abstentions, windows)
    build_report(..., method=method_of(run), policy=policy_of(run, otherwise=...))

So a report on an old run says what that run used, after an upgrade, a new model or a new policy too. Runs that ended
before their rows had this, or whose process died, have None, and the report says so.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields

from app.detectors.source import DetectorDescription
from app.orm import JsonDict
from app.runs.models import DetectorRun
from earwitness.actions import Action, ActionPolicy, ActionRule, recommend
from earwitness.finding import Abstention, Verdict, WindowScore
from earwitness.report import MethodMetadata, as_used


@dataclass(frozen=True, slots=True)
class Installation:
    """What this process makes runs with."""

    detector: DetectorDescription
    policy: ActionPolicy


def recorded(
    installation: Installation,
    verdict: Verdict,
    abstentions: Collection[Abstention],
    windows: Sequence[WindowScore] = (),
) -> JsonDict:
    """JSON: the fields of MethodMetadata, the hash of the spec file, and the actions that the policy recommends.

    The actions themselves are kept, not the name of their policy alone: that file is the operator's and may change.
    """
    actions = recommend(installation.policy, verdict, abstentions)
    return {
        **asdict(as_used(installation.detector.method, windows)),
        "spec_sha256": installation.detector.spec_sha256,
        "action_policy": {
            "version": installation.policy.version,
            "actions": [asdict(action) for action in actions],
        },
    }


def method_of(run: DetectorRun) -> MethodMetadata:
    """For the report; where nothing was recorded, the model's version and hash from the row and nothing else."""
    if run.method is None:
        return MethodMetadata(run.model_version or "unknown", graph_sha256=run.model_sha256)
    known = {field.name for field in fields(MethodMetadata)}
    return MethodMetadata(**{name: value for name, value in run.method.items() if name in known})


def policy_of(run: DetectorRun, *, otherwise: ActionPolicy) -> ActionPolicy:
    """A policy that recommends what was recommended when the run ended; `otherwise` where that was not recorded."""
    if run.method is None:
        return otherwise
    kept = run.method["action_policy"]
    always = ActionRule(frozenset(Verdict), frozenset(), tuple(Action(**action) for action in kept["actions"]))
    return ActionPolicy(kept["version"], (always,))
