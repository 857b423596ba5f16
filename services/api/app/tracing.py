"""OpenTelemetry traces, where EARWITNESS_OTLP_ENDPOINT asks for them; else no SDK is imported and nothing is done.

    stop = configure("http://collector:4318/v1/traces")      # needs the extra `otel`; by the entry points only
    with span("run", run_id=str(run_id)):                    # a child of the span around it
        ...
    headers = carrier()                                      # to go on elsewhere: span("run", parent=headers)

One process has one tracer, as it has one log. Worker processes have none: they can't reach a network. What happens
in them is told by whoever waits for them, from the times that they bring back.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME = "earwitness"
PREFIX = "earwitness."
"""Of our own attributes; those of the semantic conventions are written out."""


class TracingUnavailableError(Exception):
    """Traces were asked for and can't be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Tracing:
    """What is imported only where it is used."""

    trace: Any
    propagate: Any
    tracer: Any


_tracing: _Tracing | None = None
_NOTHING: AbstractContextManager[None] = nullcontext()


def configure(endpoint: str | None, exporter: "SpanExporter | None" = None) -> Callable[[], None]:
    """Begin to trace to `endpoint`, or to `exporter`; a function that sends what is left and ends it.

    Raises TracingUnavailableError where the extra is not installed.
    """
    global _tracing  # noqa: PLW0603  one a process, as with logging
    if endpoint is None and exporter is None:
        return lambda: None
    try:
        from opentelemetry import propagate, trace  # noqa: PLC0415  with the SDK an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingUnavailableError(
            "EARWITNESS_OTLP_ENDPOINT asks for traces, and OpenTelemetry is not installed: "
            "pip install 'earwitness[otel]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    provider.add_span_processor(
        SimpleSpanProcessor(exporter) if exporter else BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
    )
    _tracing = _Tracing(trace, propagate, provider.get_tracer(SERVICE_NAME))

    def stop() -> None:
        global _tracing  # noqa: PLW0603
        _tracing = None
        provider.shutdown()

    return stop


def span(
    name: str, *, server: bool = False, parent: Mapping[str, str] | None = None, **attributes: str | float
) -> AbstractContextManager[Any]:
    """A span around what follows, of the current one or of `parent`; an exception that leaves it is recorded."""
    if _tracing is None:
        return _NOTHING
    kinds = _tracing.trace.SpanKind
    return _tracing.tracer.start_as_current_span(  # type: ignore[no-any-return]
        name,
        context=_tracing.propagate.extract(parent) if parent else None,
        kind=kinds.SERVER if server else kinds.INTERNAL,
        attributes={PREFIX + key: value for key, value in attributes.items()},
    )


def note(attributes: Mapping[str, str | float], *, name: str | None = None, failed: bool = False) -> None:
    """Add to the current span what is known only now."""
    if _tracing is None:
        return
    current = _tracing.trace.get_current_span()
    current.set_attributes(dict(attributes))
    if name is not None:
        current.update_name(name)
    if failed:
        current.set_status(_tracing.trace.Status(_tracing.trace.StatusCode.ERROR))


def carrier() -> dict[str, str]:
    """The current span as W3C trace context, to be handed to another process; empty where nothing is traced."""
    found: dict[str, str] = {}
    if _tracing is not None:
        _tracing.propagate.inject(found)
    return found
