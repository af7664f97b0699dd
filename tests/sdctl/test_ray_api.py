"""Ray's dashboard API: values from its answers, and our errors for its refusals."""

from collections.abc import Iterator, Mapping

import pytest

from sdctl.errors import InvalidRequest, NotAllowed, NotFound, SdctlError, Unreachable
from sdctl.local import ports
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint
from tests.fakes.http_service import Reply
from tests.fakes.ray_dashboard import NODE_ID, FakeRay

pytestmark = pytest.mark.wire

CONFIG = {
    "http_options": {"port": 8123},
    "applications": [{"name": "a", "import_path": "m:build", "deployments": [{"name": "Generator"}]}],
}


@pytest.fixture
def ray() -> Iterator[FakeRay]:
    fake = FakeRay(token="secret")
    yield fake
    fake.close()


def endpoint(fake: FakeRay, token: str = "secret") -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{fake.ports[8265]}", {"Authorization": f"Bearer {token}"})


def test_what_was_put_comes_back_as_values(ray: FakeRay) -> None:
    with RayApi(endpoint(ray)) as api:
        assert api.version() == "2.60.0"
        api.put_serve(CONFIG)
        state = api.serve()
        assert [node.id for node in api.nodes() if node.is_head] == [NODE_ID]
        assert api.log_files(NODE_ID) == ()
    assert (state.http_port, state.running) == (8123, True)
    application = state.applications["a"]
    assert application.config["import_path"] == "m:build"
    generator = application.deployment("Generator")
    assert generator is not None
    assert (generator.running, generator.replicas[0].node_id) == (1, NODE_ID)
    assert application.deployment("Other") is None


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply(400, b"1 validation error: no import_path"), InvalidRequest, "no import_path"),
        (Reply(500, b"x" * 5000), SdctlError, "HTTP 500"),
        (Reply(503, b"The GCS may be down"), Unreachable, "GCS"),
        (Reply(404, b""), NotFound, "the application"),
        (Reply(403, b""), NotAllowed, "token"),
    ],
)
def test_refusals_become_our_errors(reply: Reply, kind: type[SdctlError], said: str) -> None:
    class Refusing(FakeRay):
        def dashboard(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
            return reply if method == "PUT" else super().dashboard(method, path, headers, body)

    refusing = Refusing()
    try:
        with RayApi(endpoint(refusing)) as api, pytest.raises(kind, match=said) as caught:
            api.put_serve(CONFIG)
    finally:
        refusing.close()
    assert caught.value.hint
    assert len(caught.value.message) < 3000


def test_a_wrong_token_and_nobody_there(ray: FakeRay) -> None:
    with RayApi(endpoint(ray, "wrong")) as api, pytest.raises(NotAllowed):
        api.serve()
    with RayApi(Endpoint(f"http://127.0.0.1:{ports.free(1)[0]}")) as api, pytest.raises(Unreachable):
        api.serve()
    with RayApi(Endpoint(f"http://127.0.0.1:{ray.ports[8000]}")) as api, pytest.raises(SdctlError):
        api.serve()  # a service, no dashboard
