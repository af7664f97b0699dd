"""The composition root: what a manifest's `import_path` names; imports neither torch nor diffusers."""

from ray.serve import Application

from serve_app import generator, ingress
from serve_app.config import ServiceConfig


def build(args: ServiceConfig) -> Application:
    """The application: an HTTP ingress in front of generators that hold the model."""
    application: Application = ingress.deployment(args).bind(generator.deployment(args).bind(args), args)
    return application
