"""Asks the service on this machine whether it lives: for a container's health check, which has no other client.

python -m app.health.probe      # exit status 0 or 1; imports little, since it is called every half minute
"""

import http.client
import sys

from app.settings import Settings

TIMEOUT_S = 4.0  # less than the five seconds that the Containerfile gives it
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  listened on, and asked on the loopback


def lives(settings: Settings) -> bool:
    host = ANY_ADDRESS.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if lives(Settings()) else 1)
