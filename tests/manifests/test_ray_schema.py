"""The Serve keys that the checks know are those of the installed Ray."""

import pytest

from sdctl.manifest_checks import serve_keys

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_known_keys_are_rays() -> None:
    from ray.serve import config, schema

    pairs = {
        serve_keys.TOP: schema.ServeDeploySchema,
        serve_keys.HTTP: schema.HTTPOptionsSchema,
        serve_keys.APPLICATION: schema.ServeApplicationSchema,
        serve_keys.DEPLOYMENT: schema.DeploymentSchema,
        serve_keys.ACTOR: schema.RayActorOptionsSchema,
        serve_keys.SCALING: config.AutoscalingConfig,
    }
    for known, model in pairs.items():
        assert set(model.model_fields) <= known, model.__name__
    for dead in serve_keys.REPLACEMENTS:
        assert not any(dead in model.model_fields for model in pairs.values())
