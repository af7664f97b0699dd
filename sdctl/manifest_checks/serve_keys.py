"""Serve and KubeRay keys that no longer do anything: Ray drops what it does not know, without a word."""

import difflib
from collections.abc import Iterator

from sdctl.manifest import Object
from sdctl.manifest.lines import Path
from sdctl.manifest_checks.subject import SERVE, Subject, label, mapping
from sdctl.targets.base import Finding


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The keys of Ray 2.60's schemas; tests compare them with the installed Ray.
TOP = _names(
    "applications controller_options grpc_options http_options logging_config proxy_location target_capacity "
    "tracing_config"
)
HTTP = _names(
    "host keep_alive_timeout_s port request_timeout_s root_path ssl_ca_certs ssl_certfile ssl_keyfile "
    "ssl_keyfile_password"
)
APPLICATION = _names(
    "args autoscaling_policy deployments external_scaler_enabled host import_path logging_config name port "
    "route_prefix runtime_env"
)
DEPLOYMENT = _names(
    "autoscaling_config backpressure_config deployment_actors gang_scheduling_config graceful_shutdown_timeout_s "
    "graceful_shutdown_wait_loop_s health_check_period_s health_check_timeout_s logging_config max_ongoing_requests "
    "max_queued_requests max_replicas_per_node max_surge_percent name num_replicas "
    "placement_group_bundle_label_selector placement_group_bundles placement_group_strategy ray_actor_options "
    "request_router_config rolling_update_percentage user_config"
)
ACTOR = _names("accelerator_type fallback_strategy label_selector memory num_cpus num_gpus resources runtime_env")
SCALING = _names(
    "aggregation_function downscale_delay_s downscale_smoothing_factor downscale_to_zero_delay_s downscaling_factor "
    "initial_replicas look_back_period_s max_replicas metrics_interval_s min_replicas policy smoothing_factor "
    "target_ongoing_requests upscale_delay_s upscale_smoothing_factor upscaling_factor"
)
REPLACEMENTS = {
    "target_num_ongoing_requests_per_replica": "target_ongoing_requests",
    "target_ongoing_requests_per_replica": "target_ongoing_requests",
    "max_concurrent_queries": "max_ongoing_requests",
    "serviceUnhealthySecondThreshold": "the annotation ray.io/initializing-timeout",
    "deploymentUnhealthySecondThreshold": "the annotation ray.io/initializing-timeout",
}
DEPRECATED = {
    "metrics_interval_s": "the environment variable RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S",
    "smoothing_factor": "upscaling_factor and downscaling_factor",
    "upscale_smoothing_factor": "upscaling_factor",
    "downscale_smoothing_factor": "downscaling_factor",
}


def check(subject: Subject) -> Iterator[Finding]:
    """Unknown, dead and deprecated keys."""
    for key in ("serviceUnhealthySecondThreshold", "deploymentUnhealthySecondThreshold"):
        if key in subject.spec:
            yield _dead(subject, "RayService", key, ("spec", key))
    yield from _unknown(subject, "the Serve config", subject.config, TOP, SERVE)
    yield from _unknown(
        subject, "http_options", mapping(subject.config.get("http_options")), HTTP, (*SERVE, "http_options")
    )
    for path, application in subject.applications:
        yield from _unknown(subject, f"application {application.get('name', '?')}", application, APPLICATION, path)
    for path, deployment in subject.deployments:
        yield from _deployment(subject, path, deployment)


def _deployment(subject: Subject, path: Path, deployment: Object) -> Iterator[Finding]:
    named = label(deployment)
    yield from _unknown(subject, named, deployment, DEPLOYMENT, path)
    actor = mapping(deployment.get("ray_actor_options"))
    yield from _unknown(subject, f"{named} ray_actor_options", actor, ACTOR, (*path, "ray_actor_options"))
    scaling = mapping(deployment.get("autoscaling_config"))
    below = (*path, "autoscaling_config")
    yield from _unknown(subject, f"{named} autoscaling_config", scaling, SCALING, below)
    for key in DEPRECATED.keys() & scaling.keys():
        yield subject.warn(
            f"{named}: {key}", "is deprecated and goes with a coming Ray.", f"Use {DEPRECATED[key]}.", *below, key
        )


def _unknown(subject: Subject, where: str, found: Object, known: frozenset[str], path: Path) -> Iterator[Finding]:
    for key in found:
        if key not in known:
            yield _dead(subject, where, str(key), (*path, key))


def _dead(subject: Subject, where: str, key: str, path: Path) -> Finding:
    replacement = REPLACEMENTS.get(key)
    if replacement:
        return subject.fail(
            f"{where}: {key}", "is a dead key: it is ignored, and the default holds.", f"Use {replacement}.", *path
        )
    return subject.fail(
        f"{where}: {key}", "is no key that Ray Serve knows there: it would be ignored.", _fix(key), *path
    )


def _fix(key: str) -> str:
    levels = {
        "the top": TOP,
        "http_options": HTTP,
        "the application": APPLICATION,
        "the deployment": DEPLOYMENT,
        "ray_actor_options": ACTOR,
        "autoscaling_config": SCALING,
    }
    for level, keys in levels.items():
        if key in keys:
            return f"It belongs to {level}."
    near = difflib.get_close_matches(key, sorted(frozenset().union(*levels.values())), n=1, cutoff=0.75)
    return f"Did you mean {near[0]}?" if near else "Remove it."
