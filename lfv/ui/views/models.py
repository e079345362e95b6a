"""Models: versions, figures, training data, where they are hosted, and stopping them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from lfv.client.hosts import HostSpec
from lfv.client.staging import LabelledData
from lfv.formats.host_kinds import BATCH_JOB
from lfv.formats.words import form_of
from lfv.report.figures import score, whole
from lfv.run.fit_records import fit_of_training
from lfv.run.hosting.stop import stop_model
from lfv.run.models.compare import compare_versions
from lfv.run.models.retrain import next_images, next_manifest
from lfv.run.models.training import train_project
from lfv.run.verdicts.reinspect import inspect_again
from lfv.ui.cards import cards
from lfv.ui.routing import Call, NotFound, Refused, get, post
from lfv.ui.signing import asks_for_signatures
from lfv.ui.views.approvals import format_figures, signed_approval
from lfv_store import Approval, Hosting, Model, Run, Store, Training

#: Characters that the API does not allow in a description.
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
#: Why a version is approved before the next one is trained.
_HELD = "runs stay with this version until the next one is compared with it"
#: How many models a screen lists.
_MODELS = 200
_FIGURES = {"f1": "F1 score", "precision": "Precision", "recall": "Recall"}


def list_models(call: Call) -> Response:
    """Show a screen of versions, the newest first, with their last training and open hosting.

    Batch jobs, which are recorded like models, are listed while they run, on the first screen.
    """
    store = call.ui.store
    text = call.query("before")
    before = int(text) if text.isdecimal() and len(text) < 19 else None
    hosted = {hosting.model_id: hosting for hosting in store.hostings.open()}
    registered = store.models.list(_MODELS, not_on=BATCH_JOB, before=before)
    jobs = [] if before else [store.models.get(model_id) for model_id in hosted]
    models = [*(job for job in jobs if job.key.host == BATCH_JOB), *registered]
    trainings = store.trainings.last([one.model_id for one in models])
    rows = []
    for model in models:
        last = trainings.get(model.model_id)
        measured_on = None if last is None else _measured_on(last)
        rows.append((model, last, measured_on, hosted.get(model.model_id)))
    return call.page(
        "models.html",
        title="Models",
        rows=rows,
        approved=store.approvals.all_current(),
        before=before,
        older=registered[-1] if len(registered) == _MODELS else None,
    )


def show_model(call: Call) -> Response:
    """Show one version: its trainings, runs, open hosting and approval."""
    store = call.ui.store
    model = store.models.get(call.number("model"))
    key = model.key
    return call.page(
        "model.html",
        title=f"{model.key.project_name}, version {model.key.model_version}",
        model=model,
        trainings=[
            (training, _images(training.images), _figures(training.figures), _measured_on(training))
            for training in store.trainings.of_model(model.model_id)
        ],
        open=_open_hosting(store, model),
        job=call.ui.jobs.get(_job(key.project_name)),
        decisions=store.approvals.history(key.project_name, host=key.host),
        approval=_current_approval(call, model)[0],
        next=next_images(store, model.model_id, call.ui.settings.home / "ui" / "masks"),
        signatures=asks_for_signatures(call),
        may_be_approved=key.host != BATCH_JOB,
        runs=store.runs.list(model_id=model.model_id),
        others=[
            other
            for other in store.models.find(key.project_name, not_on=BATCH_JOB)
            if other.model_id != model.model_id
        ],
    )


def compare(call: Call) -> Response:
    """Compare two models on the images that both have judged."""
    store = call.ui.store
    first, second = _two_models(call)
    found = compare_versions(store, call.ui.reader, first, second)
    rows = [store.results.get(one.inspection_id) for one in found.disagreements]
    return call.page(
        "compare.html",
        title="Compare",
        first=first,
        second=second,
        found=found,
        figures=format_figures(found, first, second),
        decided=[(model, *_current_approval(call, model)) for model in (first, second)],
        run=_last_run(call, first),
        signatures=asks_for_signatures(call),
        job=call.ui.jobs.get(_inspection(second)),
        pairs=[
            (answer, card, answer.source_ref in found.learned)
            for answer, card in zip(found.disagreements, cards(call.ui, rows), strict=True)
        ],
    )


def inspect_with_other(call: Call) -> Response:
    """Inspect the images of a model's last run with another version, for comparison."""
    first, second = _two_models(call)
    run = _last_run(call, first)
    if run is None:
        raise Refused("This version has no run whose images the other could inspect.", 409)
    settings, store, asked_by = call.ui.settings, call.ui.store, f"lfv ui ({call.visitor.name})"

    def work(progress: Callable[[str], None]) -> str:
        progress(f"Inspecting {run.source}")
        version = second.key.model_version
        made = inspect_again(settings, store, run, version, asked_by=asked_by)
        return f"Run {made[:8]} has the answers."

    call.ui.jobs.start(_inspection(second), call.visitor.name, work)
    return RedirectResponse(f"/models/{first.model_id}/compare/{second.model_id}", 303)


def _two_models(call: Call) -> tuple[Model, Model]:
    first, second = (call.ui.store.models.get(call.number(name)) for name in ("model", "other"))
    if first.model_id == second.model_id:
        raise NotFound
    return first, second


def _open_hosting(store: Store, model: Model) -> Hosting | None:
    return next((one for one in store.hostings.open() if one.model_id == model.model_id), None)


def _current_approval(call: Call, model: Model) -> tuple[Approval | None, int]:
    """Return the current approval of a model's project, and the id of the last decision."""
    key = model.key
    last = call.ui.store.approvals.history(key.project_name, host=key.host, limit=1)
    if not last:
        return None, 0
    return (last[0] if last[0].model_id is not None else None), last[0].approval_id


def _describe_default(store: Store, model: Model) -> str:
    approved = store.approvals.current(model.key.project_name, host=model.key.host)
    if approved is None:
        return (
            "No version is approved, so runs that name none, such as scheduled ones, use it from "
            f"their next start on. To keep them on version {model.key.model_version}, approve that "
            "version."
        )
    return f"Runs use version {approved.model_version} until another is approved."


def _last_run(call: Call, model: Model) -> Run | None:
    return next(iter(call.ui.store.runs.list(1, model_id=model.model_id)), None)


def _inspection(model: Model) -> str:
    return f"inspection with {model.key.project_name}, version {model.key.model_version}"


def retrain(call: Call) -> Response:
    """Write the manifest of the next version; with `train`, train it too."""
    store = call.ui.store
    model = store.models.get(call.number("model"))
    settings, name = call.ui.settings, call.visitor.name
    folder = settings.home / "ui"
    trains = call.form.get("train") == "yes"
    holds = trains and call.form.get("hold") == "yes" and _current_approval(call, model)[0] is None
    signed = signed_approval(call, model, model.key.model_version, _HELD, None) if holds else None
    made = next_manifest(
        store, call.ui.reader, model.model_id, folder / "manifests", folder / "masks"
    )
    if trains:
        if holds:
            store.approvals.approve(model.model_id, decided_by=name, reason=_HELD, signature=signed)
        project = model.key.project_name
        last = store.trainings.of_model(model.model_id)
        test = last[0].test_source if last else None
        fit = fit_of_training(next(iter(last), None))

        def work(progress: Callable[[str], None]) -> str:
            trained = train_project(
                settings,
                LabelledData(str(made.file), test, fit=None if fit is None else fit.mode),
                project,
                description=_UNFIT.sub("-", f"reviews-of-{model.key.model_version}"),
                trained_by=name,
                progress=progress,
            )
            return f"Version {trained.version} is trained. {_describe_default(store, model)}"

        call.ui.jobs.start(_job(project), name, work)
        return RedirectResponse(f"/models/{model.model_id}", 303)
    return call.page("manifest.html", title="Next version", model=model, made=made)


def _job(project: str) -> str:
    return f"training of {project}"


def stop(call: Call) -> Response:
    """Stop a hosted model; a model that runs are using needs an explicit request."""
    store = call.ui.store
    model = store.models.get(call.number("model"))
    hosting = _open_hosting(store, model)
    if hosting is None:
        raise Refused("No hosting of this model is open.", 409)
    spec = HostSpec.from_dict(hosting.host_spec)
    settings = call.ui.settings.model_copy(
        update={
            "host": spec.kind,
            "endpoint_url": None if spec.embedded_home else spec.endpoint_url,
            "region": spec.region,
            "host_options": dict(spec.options),
        }
    )
    stop_model(
        settings,
        spec.project,
        spec.model_version,
        actor=f"lfv ui ({call.visitor.name})",
        force=call.form.get("force") == "yes",
    )
    return RedirectResponse(f"/models/{model.model_id}", 303)


def _images(images: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return a training's inputs as rows of a table: name and value."""
    rows: list[tuple[str, str]] = []
    for use, name in (("train", "Training images"), ("test", "Test images")):
        found = images.get(use)
        if not isinstance(found, Mapping) or "images" not in found:
            continue
        parts = [
            f"{found[key]} {word}"
            for key, word in (
                ("normal", "normal"),
                ("anomalous", "with anomalies"),
                ("masks", "with a mask"),
            )
            if found.get(key)
        ]
        rows.append((name, f"{found['images']}" + (f": {', '.join(parts)}" if parts else "")))
        if found.get("width") and found.get("height"):
            rows.append(("Size in pixels", f"{found['width']} x {found['height']}"))
        if found.get("anomaly_types"):
            rows.append(("Anomaly types", ", ".join(map(str, found["anomaly_types"]))))
        if found.get("skipped"):
            left_out = (f"{number} {why}" for why, number in found["skipped"].items())
            rows.append(("Left out", ", ".join(left_out)))
    return tuple(rows)


def _measured_on(training: Training) -> str:
    """Describe the images on which a training's figures were measured."""
    test, trained = (training.images.get(use) for use in ("test", "train"))
    if isinstance(test, Mapping) and "images" in test:
        return f"on {_format_counts(test['images'], 'test image')}"
    if isinstance(trained, Mapping) and "images" in trained:
        return f"on images taken from the {_format_counts(trained['images'], 'training image')}"
    return "on images whose number is not recorded"


def _format_counts(number: Any, noun: str) -> str:
    return f"{whole(number)} {form_of(number, noun, noun + 's')}"


def _figures(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (_FIGURES.get(name, name), score(value) if isinstance(value, float) else str(value))
        for name, value in figures.items()
        if value is not None
    ]


ROUTES = [
    get("/models", list_models),
    get("/models/{model:int}", show_model),
    get("/models/{model:int}/compare/{other:int}", compare),
    post("/models/{model:int}/compare/{other:int}/inspect", inspect_with_other, "engineer"),
    post("/models/{model:int}/retrain", retrain, "engineer"),
    post("/models/{model:int}/stop", stop, "engineer"),
]
