"""Asks the service or the worker on this machine whether it lives: for a container's health check.

python -m app.health.probe            # exit status 0 or 1; imports little, since it is called every half minute
python -m app.health.probe worker     # the same of a worker, which needs EARWITNESS_WORKER_PORT for it
"""

import http.client
import sys
from collections.abc import Sequence

from app.settings import Settings

TIMEOUT_S = 4.0  # less than the five seconds that the Containerfile gives it
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  listened on, and asked on the loopback


def lives(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(ANY_ADDRESS.get(host, host), port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()  # whoever hangs up on unread bytes resets the connection, and the other side is told of an error
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    settings = Settings()
    if list(arguments) != ["worker"]:
        return 0 if lives(settings.host, settings.port) else 1
    return 0 if settings.worker_port is not None and lives(settings.worker_host, settings.worker_port) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
