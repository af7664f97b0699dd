"""Stand-ins for what a bare API server lacks: nodes and kubelet, scheduler, garbage collector, KubeRay, Karpenter.

They run in one thread of the test process, speak to the API server as the real ones do, and work in one namespace
(the cluster-scoped objects that they make go when the test ends). What they imitate, weaknesses included:

* **Pods** are bound to a node that fits (node selector, taints, cpu, memory, nvidia.com/gpu); without one they get
  PodScheduled=False and a FailedScheduling event. Bound, they go ContainerCreating → Running → Ready. A Secret or
  ConfigMap that a pod needs and that is missing holds it in CreateContainerConfigError or ContainerCreating.
* **KubeRay**: RayCluster `<name>-<5 letters>`, head and worker pods, `<cluster>-head-svc`; status in
  `pendingServiceStatus` until every application runs, then `activeServiceStatus`, `<name>-head-svc` and
  `<name>-serve-svc`. A hash that ignores replicas and tolerations decides on a new cluster; the old one goes after the
  deletion delay. Failed pods are deleted and replaced. Finalizer `ray.io/rayservice-finalizer`. Statuses are stale
  after a change, as the real ones are. Its Deployment `kuberay-operator` and Lease `ray-operator-leader` are in the
  namespace `kuberay-system`; `platform.stop_operator()` ends both the work and the renewals.
* **Ray** behind the head pod's ports 8265 and 8000 is `tests.fakes.ray_dashboard.FakeRay`; `platform.backend` takes
  another maker, e.g. of a real Ray: a callable from the RayCluster's name to a `Backend` (ports, headers, close). It is
  asked every `scenario.step_s`: set half a second for a real Ray.
* **Karpenter** (works once a NodePool exists): NodeClaim → Launched → Registered → Initialized → Node, within the
  pool's limits and requirements; both go some time after the last pod has left.
* **Kubelet**: `/portForward` and `/containerLogs` over HTTPS for the API server. `platform.kubelet.ports` maps
  (pod, port) to a port of 127.0.0.1, `platform.kubelet.logs` (pod, container) to lines; `platform.kubelet.fault`
  breaks forwards (refuse, cut after n bytes, delay).

A test:

    @pytest.mark.cluster
    def test_serves(control_plane: ControlPlane, namespace: str, platform: Platform) -> None:
        platform.add_node("gpu-a", gpus=4)
        platform.scenario.deploy_failed = "no such model"  # anything of scenario.Scenario, at any time
        platform.create(rayservice("sd", namespace))  # or through sdctl, with control_plane.kubeconfig()
        platform.until(lambda: platform.get("rayservices", "sd")["status"]["pendingServiceStatus"])
        platform.scenario.deploy_failed = ""
        platform.until(lambda: condition(platform.get("rayservices", "sd"), "Ready") == "True")
        [head] = platform.list("pods", "ray.io/node-type=head")

`until` polls with a deadline of 120 s: a busy machine is slow, so wait for conditions and never for times.
`platform.create/get/list/patch/delete` act as admin in the test's namespace, on plain JSON; plurals name the kinds;
`conditions.get_condition(status, "Ready")` reads a condition. "node-cpu" is there from the start; `add_node` adds
more, `lose_node` takes one away. `platform.demand["workers"] = 3` is what Ray's autoscaler asks of a worker group.
`platform.rays.of(cluster).backend` is the Ray behind a RayCluster, e.g. to set a FakeRay's `replicas`.

Users with few rights: `control_plane.kubeconfig(control_plane.user(rules, namespace=namespace))`, and
`control_plane.kubeconfig("nobody")` for none at all. Trouble: `control_plane.stop_apiserver()`, `.start_apiserver()`,
`.restart()`, after which every earlier resource version has expired (410). The fixture `absent_namespace` is a name
that nothing has been made of yet, for `Platform(control_plane, absent_namespace)`.
"""
