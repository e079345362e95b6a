"""The sweeper as a flow, to be scheduled every few minutes on any machine."""

# No postponed annotations here; see flows/inspect_images.py.

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.blocks import settings_of_blocks
from flows.events import MODEL_LEFT_RUNNING, emit
from lfv.run.errors import ModelsLeftUp
from lfv.run.hosting.sweep import SweepReport, describe_left_up, describe_swept, sweep
from lfv_store import open_store


@flow(name="stop-idle-models", persist_result=False)
def stop_idle_models(
    stop_unknown: bool = False,
    host_block: str = "",
    store_block: str = "",
) -> SweepReport:
    """Stop every model that is no longer used.

    Fails if a model that should be down is up, so that the failure is visible without reading logs.

    Args:
        stop_unknown: Also stop models that are up without being known to any run.
        host_block: Name of the Lfv Host block for the models' host; empty for the worker's own
            settings.
        store_block: Name of the Lfv Store block for the results; empty for the worker's own
            settings.
    """
    settings = settings_of_blocks(store_block, host_block)
    with open_store(settings.store_url) as store:
        report = sweep(store, settings, stop_unknown=stop_unknown)
    logger = get_run_logger()
    for hosting in report.swept:
        logger.info("%s", describe_swept(hosting))
    if not report.clean:
        lines = describe_left_up(report)
        create_markdown_artifact(
            key="models-left-up", markdown="\n".join(["# Models left up", "", *bullets(lines)])
        )
        if not all(
            [*(one.stopped for one in report.swept), *(model.stopped for model in report.unknown)]
        ):
            emit(MODEL_LEFT_RUNNING, {"prefect.resource.id": "lfv.sweep"}, {"models": lines})
        raise ModelsLeftUp("; ".join(lines))
    return report


def bullets(lines: list[str]) -> list[str]:
    """Format lines as a Markdown list."""
    return [f"- {line}" for line in lines]
