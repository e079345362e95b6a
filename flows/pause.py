"""Asks on the flow run's page whether a run should continue."""

# No postponed annotations here: Prefect builds the form from them.

from typing import Literal

from prefect import get_run_logger
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

_POLL_SECONDS = 2


class ContinueForm(RunInput):
    """The form on the page."""

    answer: Literal["continue", "end the run"] = Field(
        default="continue",
        title="Continue?",
        description="Continue starts the model again and inspects the remaining images, without "
        "asking again. A run that is ended can be resumed later.",
    )


def ask_to_continue(why: str, minutes: float) -> bool:
    """Pause the flow run until a person answers the form. No answer in time means no."""
    get_run_logger().warning("paused, the model is stopped: %s", why)
    form = ContinueForm.with_initial_data(
        description=f"**{why}.**\n\nThe model is stopped meanwhile."
    )
    try:
        answer: ContinueForm = pause_flow_run(
            wait_for_input=form, timeout=max(1, round(minutes * 60)), poll_interval=_POLL_SECONDS
        )
    except FlowPauseTimeout:
        get_run_logger().warning("nobody answered within %g minutes", minutes)
        return False
    return answer.answer == "continue"
