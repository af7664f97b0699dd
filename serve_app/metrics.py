"""The service's own metrics, on Ray's Prometheus endpoint; never a prompt's text."""

from ray.serve.metrics import Counter, Histogram

MILLISECONDS = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0, 120000.0]
IMAGES = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0]


class GeneratorMetrics:
    """What a generator replica measures."""

    def __init__(self) -> None:
        self._histograms = {
            "queue_ms": Histogram("sdctl_queue_ms", "Waiting in the replica", boundaries=MILLISECONDS),
            "generate_ms": Histogram("sdctl_generate_ms", "One pipeline call", boundaries=MILLISECONDS),
            "step_ms": Histogram("sdctl_step_ms", "One step, the mean of a pipeline call", boundaries=MILLISECONDS),
            "encode_ms": Histogram("sdctl_encode_ms", "Encoding one image", boundaries=MILLISECONDS),
            "batch_size": Histogram("sdctl_batch_size", "Images of one pipeline call", boundaries=IMAGES),
        }
        images = Counter("sdctl_images", "Images that pipeline calls made")
        self._counters = {
            "batch_size": images,
            "embedding_hits": Counter("sdctl_embedding_hits", "Prompts, negative ones too, that were encoded before"),
            "embedding_misses": Counter("sdctl_embedding_misses", "Prompts that the text encoders had to read"),
        }

    def observe(self, name: str, value: float) -> None:
        """Add one measurement."""
        if name in self._histograms:
            self._histograms[name].observe(value)
        if value > 0 and name in self._counters:  # Ray refuses to add nothing
            self._counters[name].inc(value)


class IngressMetrics:
    """What an ingress replica counts."""

    def __init__(self) -> None:
        self._answers = Counter("sdctl_answers", "Answered requests", tag_keys=("code", "tenant"))

    def answered(self, code: str, tenant: str) -> None:
        """Count one answer: `ok` or an error's code."""
        self._answers.inc(tags={"code": code, "tenant": tenant})
