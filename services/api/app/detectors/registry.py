"""The shelf of models: which there are, which is active, and the change to another set while runs are under way.

    models = ModelRegistry(OnnxSource(Path("models/audio/latest.onnx")))   # ModelError where that one is unusable
    models.active.description.model_version
    models.chosen("baseline-1-7dc47337de")                                # ModelUnknownError
    models.reload(try_out)

A version is one graph with one spec: of two files that claim a version and differ, the active one counts, and the other
is told as unusable. A model that is not active may be broken without harm to the service; it can't be chosen.
Whoever holds a `Model` goes on with it: a reload replaces the set, it changes no model.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from app.detectors.source import DetectorDescription, DetectorSource, LoadOrder
from app.errors import ModelUnknownError
from earwitness.errors import ModelError, ModelMismatchError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """One that runs can be made with."""

    description: DetectorDescription
    order: LoadOrder
    """What a worker is told, to use just this one."""


@dataclass(frozen=True, slots=True)
class UnusableModel:
    file: str
    """Its name on the shelf; no path of the machine is told."""
    code: str
    problem: str


@dataclass(frozen=True, slots=True)
class Stock:
    """What stood on the shelf at one moment."""

    active: Model
    models: Mapping[str, Model]
    """By version, the active one included and first."""
    unusable: tuple[UnusableModel, ...]


def take_stock(source: DetectorSource) -> Stock:
    """Look at `source`, which is to be active, and at what stands beside it. Raises ModelError where it is unusable."""
    active = _model(source)
    models = {active.description.model_version: active}
    unusable: list[UnusableModel] = []
    for other in source.beside():
        try:
            model = _model(other)
            known = models.setdefault(model.description.model_version, model)
            if known.order.fingerprint != model.order.fingerprint:
                raise ModelMismatchError(
                    f"it calls itself {model.description.model_version}, as another model does: give each its version"
                )
        except ModelError as error:
            unusable.append(UnusableModel(other.name, error.code, without_folder(error, other)))
            log.warning("model_unusable", file=other.name, code=error.code, problem=str(error))
    return Stock(active, models, tuple(unusable))


def without_folder(error: Exception, source: DetectorSource) -> str:
    """What may be told to a client: no path of the machine."""
    return str(error).replace(f"{source.folder}/", "")


def _model(source: DetectorSource) -> Model:
    description = source.describe()
    places = (source, *source.kept_as(description.model_version))
    return Model(description, LoadOrder(places, description.fingerprint()))


class ModelRegistry:
    """Safe to use from several threads."""

    def __init__(self, source: DetectorSource) -> None:
        """Raises ModelError where the active model is unusable."""
        self.source = source
        self._reloading = threading.Lock()
        self._stock = take_stock(source)

    @property
    def stock(self) -> Stock:
        return self._stock

    @property
    def active(self) -> Model:
        return self._stock.active

    def chosen(self, model_version: str | None) -> Model:
        """The model of that version, or the active one. Raises ModelUnknownError."""
        stock = self._stock
        if model_version is None:
            return stock.active
        if model_version not in stock.models:
            raise ModelUnknownError(
                f"there is no usable model {model_version}: GET /v1/models lists those that there are"
            )
        return stock.models[model_version]

    def of_run(self, model_version: str | None, graph_sha256: str | None, spec_sha256: str | None) -> Model | None:
        """The model that a run was made with, graph and spec file; None where it is not on the shelf."""
        model = self._stock.models.get(model_version or "")
        if model is None:
            return None
        hashes = (model.description.model_sha256, model.description.spec_sha256)
        return model if hashes == (graph_sha256, spec_sha256) else None

    def reload(self, try_out: Callable[[Model], object]) -> tuple[Model, Model]:
        """Take stock anew; from then on the new set is used. The active model of before and the one of now.

        `try_out` is called with the new active model first. Where it or the stock-taking raises, nothing changes.
        """
        with self._reloading:
            stock = take_stock(self.source)
            try_out(stock.active)
            before, self._stock = self._stock.active, stock
        return before, stock.active
