"""Which source this service runs from."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
UNKNOWN = "unknown"


def git_revision(repository: Path = REPOSITORY) -> str:
    """The commit that is checked out, `unknown` outside a checkout. Reads two files, runs nothing."""
    git = repository / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = git / name
        if loose.is_file():
            return loose.read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), UNKNOWN)
