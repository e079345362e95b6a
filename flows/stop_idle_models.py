"""The sweeper as a flow, to be scheduled every few minutes on any machine."""

# Annotations stay objects here; see flows/inspect_images.py.

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.blocks import settings_of_blocks
from flows.events import MODEL_LEFT_RUNNING, emit
from lfv.run.errors import ModelsLeftUp
from lfv.run.hosting.sweep import SweepReport, describe_swept, left_up, sweep
from lfv_store import open_store


@flow(name="stop-idle-models", persist_result=False)
def stop_idle_models(
    stop_unknown: bool = False,
    host_block: str = "",
    store_block: str = "",
) -> SweepReport:
    """Stop every model that nobody uses any more.

    Fails when a model that should be down is up, so that nobody has to read a log to learn it.

    Args:
        stop_unknown: Also stop models that are up and known to no run.
        host_block: Name of an Lfv Host block that says where models live; empty for the worker's
            own settings.
        store_block: Name of an Lfv Store block that says where runs are stored; empty for the
            worker's own settings.
    """
    settings = settings_of_blocks(store_block, host_block)
    with open_store(settings.store_url) as store:
        report = sweep(store, settings, stop_unknown=stop_unknown)
    logger = get_run_logger()
    for hosting in report.swept:
        logger.info("%s", describe_swept(hosting))
    if not report.clean:
        lines = left_up(report)
        create_markdown_artifact(
            key="models-left-up", markdown="\n".join(["# Models left up", "", *bullets(lines)])
        )
        if not all(
            [*(one.stopped for one in report.swept), *(one.stopped for one in report.unknown)]
        ):
            emit(MODEL_LEFT_RUNNING, {"prefect.resource.id": "lfv.sweep"}, {"models": lines})
        raise ModelsLeftUp("; ".join(lines))
    return report


def bullets(lines: list[str]) -> list[str]:
    """Lines of a Markdown list."""
    return [f"- {line}" for line in lines]
