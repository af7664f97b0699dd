"""What a kubelet makes of bound pods: pulling, starting, running, ready, ended; or what the scenario says."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.cluster.standins.events import Events
from tests.cluster.standins.kubelet import Kubelet
from tests.cluster.standins.mirror import Mirror, Object, now
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.timers import Timers

FINISHED = ("Succeeded", "Failed")


@dataclass
class Pods:
    """The pods of all nodes. `answers` is a Ray pod's readiness probe: the head's Ray, a worker's Serve proxy."""

    mirror: Mirror
    events: Events
    kubelet: Kubelet
    scenario: Scenario
    answers: Callable[[Object], bool]
    timers: Timers = field(default_factory=Timers)
    _addresses: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    async def reconcile(self) -> None:
        for pod in self.mirror.list("pods"):
            if not pod["spec"].get("nodeName"):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                await self._end(pod)
            elif pod["status"].get("phase") not in FINISHED:
                await self._run(pod)

    async def _end(self, pod: Object) -> None:
        if self.timers.passed(self.scenario.step_s, pod["metadata"]["uid"], "ending"):
            name = pod["metadata"]["name"]
            self.kubelet.end(name)
            await self.mirror.delete("pods", name, grace_s=0)

    async def _run(self, pod: Object) -> None:
        uid, playing = pod["metadata"]["uid"], self._concerned(pod)
        if playing and self.scenario.evicted:
            await self._set(pod, {"phase": "Failed", "reason": "Evicted", "message": self.scenario.evicted})
            await self.events.warn(pod, "Evicted", self.scenario.evicted, "kubelet")
        elif playing and self.scenario.image_pull_error:
            await self._fail_to_pull(pod)
        elif problem := self._missing(pod):
            await self._wait(pod, *problem)
        elif self._waits_for_head(pod):
            await self._initialise(pod)
        elif not self.timers.passed(self.scenario.step_s, uid, "creating"):
            await self._wait(pod, "ContainerCreating", "")
        elif playing and self.scenario.exit_code is not None and pod["status"].get("phase") == "Running":
            await self._exit(pod, self.scenario.exit_code)
        else:
            await self._start(pod)

    def _concerned(self, pod: Object) -> bool:
        group = pod["metadata"].get("labels", {}).get("ray.io/group", "")
        return bool(group) and self.scenario.pod_group in ("", group)

    async def _fail_to_pull(self, pod: Object) -> None:
        image, message = pod["spec"]["containers"][0]["image"], self.scenario.image_pull_error
        if not self.timers.passed(self.scenario.step_s, pod["metadata"]["uid"], "pulling"):
            await self._wait(pod, "ErrImagePull", message)
            note = f'Failed to pull image "{image}": {message}'
            await self.events.warn(pod, "Failed", note, "kubelet")
        else:
            await self._wait(pod, "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}')
            await self.events.record(pod, "BackOff", f'Back-off pulling image "{image}"', "kubelet")

    def _missing(self, pod: Object) -> tuple[str, str] | None:
        """The waiting reason and message for a Secret or ConfigMap that a container or volume needs."""
        for kind, name, volume in needed(pod):
            if self.mirror.get(kind, name) is None:
                message = f'{kind.removesuffix("s")} "{name}" not found'
                return ("ContainerCreating", message) if volume else ("CreateContainerConfigError", message)
        return None

    def _waits_for_head(self, pod: Object) -> bool:
        if "wait-gcs-ready" not in {item["name"] for item in pod["spec"].get("initContainers", [])}:
            return False
        cluster = pod["metadata"]["labels"]["ray.io/cluster"]
        heads = self.mirror.list("pods", {"ray.io/cluster": cluster, "ray.io/node-type": "head"})
        return self.scenario.worker_waits_for_head or not any(is_ready(head) for head in heads)

    async def _initialise(self, pod: Object) -> None:
        waiting = {"waiting": {"reason": "PodInitializing"}}
        first = container_status(pod["spec"]["initContainers"][0], {"running": {"startedAt": now()}}, ready=False)
        rest = [container_status(item, waiting, ready=False) for item in pod["spec"]["containers"]]
        status = {"phase": "Pending", "initContainerStatuses": [first], "containerStatuses": rest}
        await self._set(pod, status, ready=False)

    async def _wait(self, pod: Object, reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        statuses = [container_status(item, state, ready=False) for item in pod["spec"]["containers"]]
        await self._set(pod, {"phase": "Pending", "containerStatuses": statuses}, ready=False)
        if message and reason in ("ContainerCreating", "CreateContainerConfigError"):
            volume = reason == "ContainerCreating"
            note = f"MountVolume.SetUp failed: {message}" if volume else f"Error: {message}"
            await self.events.warn(pod, "FailedMount" if volume else "Failed", note, "kubelet")

    async def _start(self, pod: Object) -> None:
        ray = "ray.io/node-type" in pod["metadata"].get("labels", {})
        began = self.timers.passed(self.scenario.step_s, pod["metadata"]["uid"], "starting")
        ready = began and (not ray or self.answers(pod))
        state = {"running": {"startedAt": pod["status"].get("startTime") or now()}}
        statuses = [container_status(item, state, ready=ready) for item in pod["spec"]["containers"]]
        status: Object = {"phase": "Running", "containerStatuses": statuses}
        if initial := pod["spec"].get("initContainers", []):
            done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
            status["initContainerStatuses"] = [container_status(item, done, ready=True) for item in initial]
        await self._set(pod, status, ready=ready)

    async def _exit(self, pod: Object, code: int) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        self.kubelet.log(name, container["name"], *self.scenario.exit_log)
        times = {"startedAt": pod["status"].get("startTime") or now(), "finishedAt": now()}
        state = {"terminated": {"exitCode": code, "reason": self.scenario.exit_reason} | times}
        statuses = [container_status(item, state, ready=False) for item in pod["spec"]["containers"]]
        await self._set(pod, {"phase": "Failed", "containerStatuses": statuses}, ready=False)

    async def _set(self, pod: Object, status: Object, *, ready: bool = False) -> None:
        """Write a status where it says something new."""
        before = pod["status"]
        if outline(before) == (status["phase"], states(status), ready, status.get("reason")):
            return
        address = before.get("podIP") or f"127.244.0.{next(self._addresses) % 250}"
        started = before.get("startTime") or now()
        status |= {"conditions": conditions(before, ready), "podIP": address, "podIPs": [{"ip": address}]}
        status |= {"startTime": started, "hostIP": "127.0.0.1"}
        await self.mirror.patch("pods", pod["metadata"]["name"], {"status": status}, "status")


def outline(status: Object) -> tuple[object, ...]:
    """What makes one pod status differ from another, times aside."""
    return (status.get("phase"), states(status), is_ready({"status": status}), status.get("reason"))


def states(status: Object) -> list[object]:
    """Each container's state by name and reason."""
    listed = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return [
        (item["name"], kind, detail.get("reason"), detail.get("message"), item["ready"])
        for item in listed
        for kind, detail in item["state"].items()
    ]


def container_status(container: Object, state: Object, *, ready: bool) -> Object:
    """One entry of containerStatuses."""
    running = "running" in state
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "restartCount": 0,
        "started": running,
        "state": state,
    }


def conditions(before: Object, ready: bool) -> list[Object]:
    """The pod's conditions once it is bound; a time changes only with its condition."""
    known = {item["type"]: item for item in before.get("conditions", [])}
    result = []
    for kind, value in {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}.items():
        old = known.get(kind, {})
        status = "True" if value else "False"
        moment = old["lastTransitionTime"] if old.get("status") == status else now()
        result.append({"type": kind, "status": status, "lastTransitionTime": moment})
    return result


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is true."""
    listed = pod["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in listed)


def needed(pod: Object) -> Iterator[tuple[str, str, bool]]:
    """(kind, name, whether as a volume) of each Secret and ConfigMap that the pod cannot start without."""
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        for item in container.get("env", []):
            source = item.get("valueFrom", {})
            for kind, key in (("secrets", "secretKeyRef"), ("configmaps", "configMapKeyRef")):
                if key in source and not source[key].get("optional"):
                    yield kind, source[key]["name"], False
    for volume in pod["spec"].get("volumes", []):
        if "secret" in volume and not volume["secret"].get("optional"):
            yield "secrets", volume["secret"]["secretName"], True
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "configmaps", volume["configMap"]["name"], True
