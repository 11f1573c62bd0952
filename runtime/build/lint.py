"""``build --check``: look at a Dockerfile as a build would find it, and build nothing.

Comes in:  a BuildSpec, a Store.
Goes out:  the report as text.
Not here:  the rules (image.dockerfile.lint).
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from runtime.build import stages
from runtime.build.context import ignore_rules
from runtime.build.contexts import Contexts
from runtime.build.git import Git
from runtime.build.halt import Halt
from runtime.build.notes import Notes
from runtime.build.remote import Downloads
from runtime.build.spec import BuildSpec
from runtime.image.dockerfile.lint import lint
from runtime.image.dockerfile.lint_text import shown
from runtime.image.manifest import ImageConfig
from runtime.image.progress import silent
from runtime.image.store import Store


def check(store: Store, spec: BuildSpec) -> tuple[str, bool]:
    """The report and whether there is nothing to say. Raises BuildFailed when there is no Dockerfile.

    Base images are looked at when they are here; nothing is pulled.
    """
    with ExitStack() as held:
        room, halt = held.enter_context(store.ingest()), held.enter_context(Halt())
        notes = held.enter_context(Notes(store.root / "build.db"))
        downloads = Downloads(notes, halt, room)
        held.callback(downloads.close)
        contexts = Contexts(store, Git(spec.environment, halt), downloads, silent, room)
        home = contexts.directory(spec.context)
        text = stages.dockerfile_text(home, spec)
        path = "Dockerfile" if spec.dockerfile_text else spec.dockerfile

        def base(reference: str, platform: str) -> ImageConfig | None:
            place = stages.named_context(spec.additional_contexts, reference) or reference
            name = place.removeprefix("docker-image://")
            found = None if "://" in name or name.startswith("/") else store.find(name)
            return found.config if found else None

        report = lint(
            text,
            file=path,
            args=spec.args,
            target=spec.target,
            platform=spec.platform,
            ignore=ignore_rules(home, "" if spec.dockerfile_text else spec.dockerfile),
            base=base,
        )
        local = str(home) == spec.context and not spec.dockerfile_text
        place = os.path.normpath(home / path) if local else path
        return shown(report, text, place), report.clean()
