"""Operations: what docs and deploy files name exists in the code. No container engine runs here: they are only read."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from app.commands import COMMANDS
from app.health.probe import lives
from app.metrics import Metrics
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
SECRETS = {"earwitness_database_url", "earwitness_evidence_access_key", "earwitness_evidence_secret_key"}
SETTINGS = {f"EARWITNESS_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return parsed


def instructions(word: str) -> list[str]:
    return [line.removeprefix(word).strip() for line in CONTAINERFILE.splitlines() if line.startswith(word + " ")]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in shlex.split(line))


def test_every_setting_is_in_the_table_and_the_table_names_no_other() -> None:
    table = API[API.index("\n## Settings") :]
    named = {
        f"EARWITNESS_{name}"
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([A-Z_0-9]+)`", row)
    }
    assert named == SETTINGS


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("default", ROOT / "models" / "audio" / "latest.onnx"),
        ("accurate", ROOT / "models" / "audio" / "accurate.onnx"),
        ("/srv/models/ours.onnx", Path("/srv/models/ours.onnx")),
    ],
)
def test_the_model_is_a_profile_or_a_path(named: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_MODEL", named)
    assert Settings().model == path


@pytest.mark.parametrize("name", ["docs/operations.md", "deploy/Containerfile", "deploy/compose.yaml"])
def test_only_settings_that_exist_are_named(name: str) -> None:
    text = (ROOT / name).read_text()
    found = set(re.findall(r"EARWITNESS_[A-Z_]+", text))
    if name.endswith(".md"):  # there the prefix is left out
        found |= {f"EARWITNESS_{word}" for word in re.findall(r"`([A-Z][A-Z_]{3,}[A-Z])(?:=[^`]*)?`", text)}
    assert {word for word in found if word not in SETTINGS} <= {"EARWITNESS_"}


def test_the_sample_of_a_proxy_checks_the_name_that_it_passes_on() -> None:
    """nginx fills $remote_user from the client's own header also where it checks no password."""
    sample = OPERATIONS[OPERATIONS.index("```nginx") :].split("```")[1]
    assert "X-User $remote_user" in sample
    assert re.search(r"^ +auth_basic +\"", sample, re.MULTILINE) and "auth_basic_user_file" in sample


def test_commands_in_the_docs_are_those_of_the_service() -> None:
    table = OPERATIONS[OPERATIONS.index("| command |") :].split("\n\n")[0]
    named = set(re.findall(r"`python -m app ([\w-]+)`", table))
    assert named == set(COMMANDS)
    assert set(re.findall(r"python -m app ([\w-]+)", OPERATIONS)) <= set(COMMANDS)


def test_the_image_copies_what_exists_and_nothing_else() -> None:
    for line in instructions("COPY"):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from=build" not in line:
            for source in words[:-1]:
                assert (ROOT / source).exists(), source


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_in_particular() -> None:
    bases = instructions("FROM")
    assert len(bases) == 2 and bases[0].startswith(bases[1])
    user = instructions("USER")
    assert user == ["10001:10001"]
    assert CONTAINERFILE.rindex("USER ") > CONTAINERFILE.rindex("COPY ")
    assert all(":latest" not in base and ":" in base for base in bases)


def test_no_shell_is_used_in_the_image() -> None:
    health = next(line for line in CONTAINERFILE.splitlines() if line.startswith("HEALTHCHECK"))
    for line in [
        *instructions("RUN"),
        *instructions("ENTRYPOINT"),
        *instructions("CMD"),
        health.split(" CMD ")[1],
    ]:
        assert isinstance(json.loads(line), list), line


def test_health_check_entry_point_and_port_fit_together() -> None:
    environment = image_environment()
    assert {name for name in environment if name.startswith("EARWITNESS_")} <= SETTINGS
    settings = {
        name.removeprefix("EARWITNESS_").lower(): value
        for name, value in environment.items()
        if name.startswith("EARWITNESS_")
    }
    made = Settings.model_validate(settings)
    assert instructions("EXPOSE") == [str(made.port)]
    assert (made.host, made.mode.value) == ("0.0.0.0", "production")
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["python", "-m", "app"]
    (command,) = json.loads(instructions("CMD")[0])
    assert command in COMMANDS
    health = next(line for line in CONTAINERFILE.splitlines() if line.startswith("HEALTHCHECK"))
    assert json.loads(health.split(" CMD ")[1]) == ["python", "-m", "app.health.probe"]
    for folder in (made.evidence_dir, Path(made.database_url.removeprefix("sqlite:///"))):
        assert folder.is_relative_to(instructions("VOLUME")[0])


def test_what_the_health_check_says_is_true(service_process: Any) -> None:
    service = service_process.start()
    port = int(service.url.rpartition(":")[2])
    assert lives("0.0.0.0", port)
    probe = [sys.executable, "-m", "app.health.probe"]
    environment = {**os.environ, "EARWITNESS_PORT": str(port)}
    assert subprocess.run(probe, env=environment, check=False, timeout=60).returncode == 0
    service.stop()
    assert subprocess.run(probe, env=environment, check=False, timeout=60).returncode == 1


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that are commands of the service, and not just its image."""
    services = compose["services"].items()
    return {name: it for name, it in services if it["image"] == "earwitness" and "entrypoint" not in it}


def test_compose_has_a_database_an_object_store_a_service_and_two_workers(compose: dict[str, Any]) -> None:
    commands = sorted(it["command"][0] for it in ours(compose).values())
    assert commands == ["serve", "worker", "worker"]
    assert set(commands) <= set(COMMANDS)
    assert {"postgres", "objects"} <= set(compose["services"])


def settings_of(compose: dict[str, Any], name: str) -> Settings:
    """As that container reads them: variables of the image and of the file, and a file for each secret."""
    service = compose["services"][name]
    words = dict.fromkeys(service["secrets"], "x")
    words["earwitness_database_url"] = "postgresql://earwitness:x@postgres/earwitness"
    environment = {**image_environment(), **service["environment"]}
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as secrets:
        for key in SETTINGS:
            patch.delenv(key, raising=False)
        for key, value in environment.items():
            if key.startswith("EARWITNESS_"):
                assert key in SETTINGS, name
                patch.setenv(key, value)
        for secret, word in words.items():
            (Path(secrets) / secret).write_text(f"{word}\n")
        return Settings(_secrets_dir=secrets)


def test_compose_sets_what_exists_and_can_be_set(compose: dict[str, Any]) -> None:
    for name in ours(compose):
        made = settings_of(compose, name)
        assert made.evidence_secret_key is not None and made.evidence_access_key == "x"
        assert made.database_url == "postgresql://earwitness:x@postgres/earwitness"  # and not the image's own
        assert open_store_settings_fit(compose, made)


def open_store_settings_fit(compose: dict[str, Any], made: Settings) -> bool:
    """The store that is named is the one beside it, at its port, with the bucket that was made."""
    endpoint = urlsplit(made.evidence_endpoint or "")
    store = compose["services"][endpoint.hostname]
    bucket = PurePosixPath(compose["services"]["bucket"]["healthcheck"]["test"][-1])
    assert f"install -d -m 0700 {bucket} " in compose["services"]["bucket"]["entrypoint"][-1]
    volume, mounted = compose["services"]["bucket"]["volumes"][0].split(":")
    return (
        store["environment"]["VGW_PORT"] == f":{endpoint.port}"
        and f"{volume}:{store['command'][-1]}" in store["volumes"]
        and made.evidence_url == f"s3://{bucket.relative_to(mounted)}"
    )


def test_compose_gives_no_more_rights_than_needed(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        if service["image"] == "earwitness":
            assert "user" not in service, "the image's own"
        else:  # PostgreSQL's image starts as root to make its folder its own
            assert "user" in service or name == "postgres", name
        assert not service.get("cap_add") or name == "postgres", name
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == [f"127.0.0.1:8000:{instructions('EXPOSE')[0]}"]  # there is no sign-in yet


def test_every_container_that_stays_has_a_health_check_and_a_pinned_image(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert service["image"] == "earwitness" or re.match(r"v?\d", tag), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", (
            name
        )  # podman restarts nothing that depends on one that ended
    for name, service in ours(compose).items():
        made = settings_of(compose, name)
        _, *probe = service["healthcheck"]["test"]
        expected = ["python", "-m", "app.health.probe"]
        if service["command"] == ["worker"]:
            assert made.worker_port is not None
            expected.append("worker")
        assert probe == expected, name


def test_the_database_is_healthy_only_when_others_reach_it(compose: dict[str, Any]) -> None:
    """While PostgreSQL's image fills its folder, a server answers on the socket that goes away again."""
    assert "--host=127.0.0.1" in compose["services"]["postgres"]["healthcheck"]["test"]


def test_no_recording_is_left_in_a_volume_that_nobody_finds(compose: dict[str, Any]) -> None:
    """Where no volume is named, each `up` has a new one, and what a killed worker read stays behind in the old one."""
    (folder,) = instructions("VOLUME")
    volumes = [volume.split(":") for service in ours(compose).values() for volume in service["volumes"]]
    assert [mounted for _, mounted in volumes] == [folder] * len(ours(compose))
    named = [name for name, _ in volumes]
    assert len(set(named)) == len(named) and "objects" not in named


def test_compose_is_complete_in_itself(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("secrets", [])) <= set(compose["secrets"]), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], name
        for condition in service.get("depends_on", {}).values():
            assert condition["condition"] == "service_healthy", name
    assert set(compose["secrets"]) == {*SECRETS, "postgres_password"}
    assert {secret.upper() for secret in SECRETS} <= SETTINGS
    assert (DEPLOY / compose["services"]["api"]["build"]["context"]).resolve() == ROOT
    grace_s = float(services["api"]["environment"]["EARWITNESS_SHUTDOWN_GRACE"])
    assert grace_s < float(services["api"]["stop_grace_period"].removesuffix("s"))


def test_the_docs_make_every_file_that_compose_needs(compose: dict[str, Any]) -> None:
    files = [secret["file"] for secret in compose["secrets"].values()]
    files += [file for service in compose["services"].values() for file in service.get("env_file", [])]
    making = OPERATIONS[OPERATIONS.index("mkdir -m 700 deploy/secrets") :].split("```")[0]
    assert {Path(file).name for file in files} == set(re.findall(r"> (\w+(?:\.env)?)$", making, re.MULTILINE))
    assert all(Path(file).parent == Path("secrets") for file in files)


def test_a_secret_is_a_file_named_after_its_setting(tmp_path: Path) -> None:
    (tmp_path / "earwitness_database_url").write_text("postgresql://u:secret@h/d\n")
    assert Settings(_secrets_dir=tmp_path).database_url == "postgresql://u:secret@h/d"


def test_a_secret_is_believed_before_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image has the address of a database among its variables: with those first no secret could name another."""
    (tmp_path / "earwitness_database_url").write_text("postgresql://u:secret@h/d\n")
    monkeypatch.setenv("EARWITNESS_DATABASE_URL", image_environment()["EARWITNESS_DATABASE_URL"])
    assert Settings().database_url == image_environment()["EARWITNESS_DATABASE_URL"]
    assert Settings(_secrets_dir=tmp_path).database_url == "postgresql://u:secret@h/d"
    assert Settings(_secrets_dir=tmp_path, database_url="sqlite://").database_url == "sqlite://"


def test_alerts_and_docs_name_metrics_that_exist() -> None:
    families = {family.name: family for family in Metrics().registry.collect()}
    exported = {sample for name, family in families.items() for sample in _samples(name, family.type)}
    rules = (DEPLOY / "prometheus-rules.yaml").read_text()
    groups = yaml.safe_load(rules)["groups"]
    assert all(rule["alert"] and rule["expr"] and rule["annotations"]["summary"] for rule in groups[0]["rules"])
    for text in (rules, OPERATIONS):
        assert set(re.findall(r"earwitness_[a-z_]+", text)) - SECRETS <= exported
    described = OPERATIONS[OPERATIONS.index("| metric |") :].split("\n\n")[0]
    assert all(name in described for name in families if name.startswith("earwitness_"))


def _samples(name: str, kind: str) -> list[str]:
    endings = {
        "counter": ["_total"],
        "histogram": ["", "_bucket", "_sum", "_count"],
        "info": ["_info"],
    }.get(kind, [""])
    return [name + ending for ending in endings]


def test_what_alerts_count_is_there_before_it_first_happens() -> None:
    at_start = [(s.name, s.labels) for family in Metrics().registry.collect() for s in family.samples]
    rules = (DEPLOY / "prometheus-rules.yaml").read_text()
    counted = re.findall(r"(?:increase|rate)\((earwitness_(?!http)\w+_total)(?:\{(\w+)=~?\"([^\"]+)\"\})?", rules)
    assert {"earwitness_evidence_problems_total", "earwitness_webhook_attempts_total"} <= {c[0] for c in counted}
    for name, label, values in counted:
        found = {labels.get(label) for there, labels in at_start if there == name}
        assert found, name
        for value in values.split("|") if label else ():
            assert any(re.fullmatch(value, str(known)) for known in found), value


def test_labels_in_alerts_are_codes_and_routes_that_exist() -> None:
    rules = (DEPLOY / "prometheus-rules.yaml").read_text()
    for outcomes in re.findall(r'outcome=~"([^"]+)"', rules):
        for code in outcomes.split("|"):
            assert f"`{code.removesuffix('.*')}`" in API, code
    for route in re.findall(r'route="([^"]+)"', rules):
        assert f" {route}`" in API
