"""Serving, by the settings in the environment: what `python -m app` does.

Once it listens, one line `{"event": "listening", "url": ...}` goes to standard output, and the port into
EARWITNESS_PORT_FILE where one is named. Exit status 2 where it can't start; the reason is on standard error.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.application import CantStartError, create_app
from app.detectors.service import BY_SIGNAL
from app.errors import ModelRefusedError
from app.settings import Settings
from earwitness.errors import EarwitnessError

EXIT_CANT_START = 2


class Lifespan:
    """The app as its server sees it: where it can't start, the reason is kept here, and no traceback is logged."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.failure: CantStartError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failed: Message | None = None

        async def hold_failure(message: Message) -> None:  # it carries the traceback
            nonlocal failed
            if message["type"] == "lifespan.startup.failed":
                failed = message
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except CantStartError as error:
            self.failure = error
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except BaseException:
            if failed is not None:
                await send(failed)
            raise


class Server(uvicorn.Server):
    """Tells where it listens, once it does; ends without an exception where it can't."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, port_file: Path | None) -> None:
        super().__init__(config)
        self._app = app
        self._port_file = port_file
        self.refusal: str | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # how uvicorn ends where the app did not start
            self.should_exit = True
            return
        except OSError as error:  # another process listens, which was bound at the same time
            self.refusal = _not_listening(self.config, error)
            self.should_exit = True
            await self.lifespan.shutdown()
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_models)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        try:
            self._write_port(port)
        except OSError as error:
            self.refusal = f"can't write EARWITNESS_PORT_FILE: {error}"
            self.should_exit = True
            await self.shutdown(sockets)
            return
        told = f"[{host}]" if ":" in host else host
        sys.stdout.write(json.dumps({"event": "listening", "url": f"http://{told}:{port}", "port": port}) + "\n")
        sys.stdout.flush()

    def _write_port(self, port: int) -> None:
        if self._port_file is not None:
            partial = self._port_file.with_name(f".{self._port_file.name}.{os.getpid()}")
            partial.write_text(f"{port}\n")
            partial.replace(self._port_file)

    def _reload_models(self) -> None:
        def reload() -> None:
            with contextlib.suppress(ModelRefusedError):  # logged, and the service goes on
                self._app.state.service.reloader.reload(BY_SIGNAL)

        asyncio.get_running_loop().run_in_executor(None, reload)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Requests and runs share one grace: the queue is closed only after uvicorn has waited for the requests.
        self._app.state.service.queue.begin_grace()
        await super().shutdown(sockets)


def serve(app: FastAPI, settings: Settings) -> int:
    """Until a signal stops it; the exit status."""
    lifespan = Lifespan(app)
    config = uvicorn.Config(
        lifespan,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # app.middleware writes one line a request
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(settings.shutdown_grace.total_seconds()),
    )
    server = Server(config, app, settings.port_file)
    with contextlib.ExitStack() as stack:
        try:
            sockets = _bind(settings.host, settings.port, stack)
        except OSError as error:
            server.refusal = _not_listening(config, error)
        else:
            server.run(sockets)
    if server.refusal is not None:
        sys.stderr.write(f"earwitness: {server.refusal}\n")
    elif server.started:
        return 0
    elif lifespan.failure is not None:
        sys.stderr.write(f"earwitness: {lifespan.failure}\n")
    return EXIT_CANT_START


def _not_listening(config: uvicorn.Config, error: OSError) -> str:
    return f"can't listen on {config.host}:{config.port}: {error}"


def _bind(host: str, port: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """A socket for each address of `host`, bound before anything starts: where a port is taken nothing else is touched.

    None listens yet: until the app has started, clients are refused and need not wait. `stack` closes them. Raises
    OSError.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound = []
    for family, kind, protocol, _name, address in dict.fromkeys(found):  # a file of hosts may name one twice
        one = stack.enter_context(socket.socket(family, kind, protocol))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what the last process left does not matter
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        one.bind(address)
        bound.append(one)
    return bound


def run(settings: Settings) -> int:
    """Serve, unless the model does not fit; the exit status."""
    try:
        app = create_app(settings)
    except EarwitnessError as error:
        sys.stderr.write(f"earwitness: {error}\n")
        return EXIT_CANT_START
    return serve(app, settings)
