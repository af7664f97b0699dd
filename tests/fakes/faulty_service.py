"""The service around a real pipeline that fails on demand: what the fault tests deploy, by name."""

from unittest.mock import patch

from ray.serve import Application

from serve_app import generator, ingress
from serve_app.config import ServiceConfig
from tests.fakes.faulty_painter import faulty


class FaultyGenerator(generator.Generator):
    """The generator as shipped, but for the painter."""

    def __init__(self, config: ServiceConfig) -> None:
        from serve_app import pipeline  # torch: not where the application is built

        load = pipeline.load

        def load_faulty(config: ServiceConfig) -> pipeline.DiffusersPainter:
            painter = load(config)
            painter.draw = faulty(painter.draw)  # type: ignore[assignment, method-assign]
            return painter

        with patch.object(pipeline, "load", load_faulty):
            super().__init__(config)


def build(args: ServiceConfig) -> Application:
    """The application as `serve_app.app` builds it, with that generator."""
    made = generator.deployment(args).options(func_or_class=FaultyGenerator)
    application: Application = ingress.deployment(args).bind(made.bind(args), args)
    return application
