"""A command's flow can be cancelled, and can still be sent to other processes."""

from __future__ import annotations

import cloudpickle

from flows.cancellation import cancellable
from flows.inspect_images import inspect_images


def test_workers_of_a_cluster_get_a_flow_that_can_be_cancelled() -> None:
    with cancellable(inspect_images) as flow:
        assert len(flow.on_running_hooks) == 1
        sent = cloudpickle.loads(cloudpickle.dumps(flow))
    assert sent.name == inspect_images.name
