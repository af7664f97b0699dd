"""One Kubernetes cluster, spoken to in plain dicts; every failure becomes an SdctlError."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdctl import state
from sdctl.cluster.kubeconfig import api_client
from sdctl.cluster.refusals import Attempt, refusal, unreachable
from sdctl.cluster.resources import FIELD_MANAGER, Resource, resource_of
from sdctl.errors import NotFound, SdctlError
from sdctl.targets.base import Selection

DEFAULT_NAMESPACE = "sdctl"
DEFAULT_NAME = "stable-diffusion"
Document = dict[str, Any]
Query = Mapping[str, str]
Body = Document | list[Document]

_TRIES = 4
_RETRIED = {"GET": {429, 500, 502, 503, 504}}  # others only where the server says that it did nothing
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Cluster:
    """An API server and the service that a command is about; safe to share between threads."""

    api: Any = field(repr=False)  # kubernetes.client.ApiClient: for what needs its own transport (WebSockets)
    namespace: str = DEFAULT_NAMESPACE
    name: str = DEFAULT_NAME
    timeout_s: float = 30.0
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self.api.configuration.host)

    def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Document:
        """One object; `namespace` defaults to the cluster's own. Raises NotFound."""
        return self._json("GET", self._attempt("GET", resource, namespace, name, subresource))

    def find(self, resource: Resource, name: str, namespace: str = "") -> Document | None:
        """One object, or None when there is none (or no such kind)."""
        try:
            return self.get(resource, name, namespace)
        except NotFound:
            return None

    def items(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Document]:
        """All objects that match; `namespace` None means the cluster's own, "" all. Each has apiVersion and kind."""
        return self.items_page(resource, namespace, labels=labels, fields=fields)[0]

    def items_page(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[list[Document], str]:
        """All objects that match, and the resource version to watch from."""
        where = self.namespace if namespace is None else namespace
        attempt = Attempt("GET", resource, where if resource.namespaced else "")
        query = {"labelSelector": labels, "fieldSelector": fields}
        answer = self._json("GET", attempt, query={key: value for key, value in query.items() if value})
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        items = [{**kind, **item} for item in answer.get("items") or []]
        return items, str(answer.get("metadata", {}).get("resourceVersion", ""))

    def watch(
        self, resource: Resource, version: str, *, labels: str = "", fields: str = "", timeout_s: int = 30
    ) -> Iterator[tuple[str, Document]]:
        """Changes since `version` as (ADDED|MODIFIED|DELETED|BOOKMARK, object), until `timeout_s`; raises Expired."""
        attempt = self._attempt("GET", resource, "", "")
        query = {
            "watch": "1",
            "resourceVersion": version,
            "labelSelector": labels,
            "fieldSelector": fields,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
        }
        for line in self.lines(attempt, {key: value for key, value in query.items() if value}, timeout_s + 10.0):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise refusal(int(event["object"].get("code", 500)), json.dumps(event["object"]), attempt)
            yield event["type"], event["object"]

    def create(self, document: Document, *, query: Query | None = None) -> Document:
        """Create an object; a conflict when it exists."""
        attempt = self._attempt_for("POST", document)
        return self._json("POST", attempt, body=document, query={"fieldManager": FIELD_MANAGER, **(query or {})})

    def ask(self, resource: Resource, question: Document) -> Document:
        """Post a question, such as an access review, and give it with its answer; nothing is stored."""
        return self._json("POST", Attempt("POST", resource), body=question)

    def patch(self, resource: Resource, name: str, change: Document, namespace: str = "") -> Document:
        """Merge `change` into an object (JSON merge patch: lists are replaced)."""
        attempt = self._attempt("PATCH", resource, namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self._json("PATCH", attempt, body=change, query=query, content_type=_MERGE_PATCH)

    def json_patch(
        self, resource: Resource, name: str, operations: Sequence[Document], namespace: str = ""
    ) -> Document:
        """Change single fields of an object (JSON patch), all of them or none; a failed `test` is InvalidRequest."""
        attempt = self._attempt("PATCH", resource, namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self._json("PATCH", attempt, body=list(operations), query=query, content_type=_JSON_PATCH)

    def apply(self, document: Document, *, force: bool = False, query: Query | None = None) -> Document:
        """Server-side apply as manager `sdctl`; raises Conflicts with each foreign manager and field."""
        attempt = self._attempt_for("PATCH", document, document["metadata"]["name"])
        asked = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false", **(query or {})}
        return self._json("PATCH", attempt, body=document, query=asked, content_type=_APPLY_PATCH)

    def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Ask for an object's deletion (in the background, dependents too); no error when it is gone."""
        body: Document = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._json("DELETE", self._attempt("DELETE", resource, namespace, name), body=body)
        except NotFound:
            return

    def read(self, path: str) -> Document:
        """Any document of the API server by its path, such as `/apis`; for what is no object."""
        answer = json.loads(self._read("GET", path, Attempt("GET", Resource("v1", "", path, False), name=path)))
        return answer if isinstance(answer, dict) else {}

    def version(self) -> tuple[int, int]:
        """The API server's version as (major, minor)."""
        answer = json.loads(self._read("GET", "/version", Attempt("GET", Resource("v1", "", "version", False))))
        digits = "".join(character for character in answer["minor"] if character.isdigit())
        return int(answer["major"]), int(digits)

    def lines(self, attempt: Attempt, query: Query, timeout_s: float | None) -> Iterator[str]:
        """The lines of a streamed answer (a watch, a log) as they come; `timeout_s` is between two of them."""
        url = attempt.resource.path(attempt.namespace, attempt.name, attempt.subresource)
        answer = self._send("GET", url, query, None, "", (self.timeout_s, timeout_s))
        try:
            if answer.status >= 400:
                raise refusal(answer.status, self._text(answer), attempt)
            yield from self._split(answer.response)
        finally:
            answer.response.close()

    def _split(self, response: Any) -> Iterator[str]:
        import urllib3

        rest = b""
        try:
            for chunk in response.stream(65536):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole if line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self.host, error) from None
        if rest:
            yield rest.decode("utf-8", "replace")

    def _attempt(self, method: str, resource: Resource, namespace: str, name: str, subresource: str = "") -> Attempt:
        where = (namespace or self.namespace) if resource.namespaced else ""
        return Attempt(method, resource, where, name, subresource)

    def _attempt_for(self, method: str, document: Document, name: str = "") -> Attempt:
        namespace = str(document["metadata"].get("namespace") or "")
        return self._attempt(method, resource_of(document), namespace, name)

    def _json(
        self,
        method: str,
        attempt: Attempt,
        *,
        body: Body | None = None,
        query: Query | None = None,
        content_type: str = "",
    ) -> Document:
        path = attempt.resource.path(attempt.namespace, attempt.name, attempt.subresource)
        answer = json.loads(self._read(method, path, attempt, query, body, content_type))
        if not isinstance(answer, dict):
            raise SdctlError(f"The API server answered {path} with something that is no object.")
        return answer

    def _read(
        self,
        method: str,
        path: str,
        attempt: Attempt,
        query: Query | None = None,
        body: Body | None = None,
        content_type: str = "",
    ) -> str:
        for last in (*[False] * (_TRIES - 1), True):
            answer = self._send(method, path, query or {}, body, content_type, self.timeout_s)
            text = self._text(answer)
            if answer.status < 400:
                return text
            if last or answer.status not in _RETRIED.get(method, {429}):
                break
            self.pause(_wait_s(answer.headers.get("Retry-After")))
        raise refusal(answer.status, text, attempt)

    def _text(self, answer: Any) -> str:
        from urllib3.exceptions import HTTPError

        try:
            return str(answer.read(), "utf-8", "replace")
        except (HTTPError, OSError) as error:  # it went away in the middle of its answer
            raise unreachable(self.host, error) from None

    def _send(self, method: str, path: str, query: Query, body: Body | None, content_type: str, timeout: Any) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content_type or "application/json"}
        try:
            request = self.api.param_serialize(
                method, path, {}, list(query.items()), headers, body, auth_settings=["BearerToken"]
            )
            return self.api.rest_client.request(
                request[0], request[1], headers=request[2], body=request[3], _request_timeout=timeout
            )
        except (ApiException, HTTPError, OSError) as error:
            raise unreachable(self.host, error) from None


def _wait_s(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.2), 10.0)
    except ValueError:
        return 1.0


def connect(selection: Selection) -> Cluster:
    """The cluster that a command line selects, and on it the service that was deployed last where none is named.

    Asks the server nothing yet.
    """
    api = api_client(selection.kubeconfig, selection.context)
    last = state.read("kubernetes.json")
    if last.get("host") != api.configuration.host:
        last = {}
    return Cluster(
        api,
        namespace=selection.namespace or str(last.get("namespace") or DEFAULT_NAMESPACE),
        name=selection.name or str(last.get("name") or DEFAULT_NAME),
    )
