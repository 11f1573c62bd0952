"""A project's runtime in a temporary place, for tests of containers."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.container import Runtime
from runtime.policy import paths
from runtime.policy.capabilities import final
from runtime.spec import ContainerSpec, ExitRecord

_numbers = itertools.count(1)


class Box:
    """One project: ``spec`` makes specs, ``runtime`` is open inside ``with_runtime``."""

    def __init__(self, scratch: Path, image: Path) -> None:
        self.project = f"test{os.getpid()}{time.time_ns() % 100000}"
        self.run, self.data = scratch / "run" / self.project, scratch / "data" / self.project
        self.image = image
        self.ended: list[tuple[str, ExitRecord]] = []
        self.revive: list[str] = []

    def spec(self, *argv: str, **changes: Any) -> ContainerSpec:
        """A container of busybox, confined as a service is."""
        number = next(_numbers)
        base = ContainerSpec(
            id=f"{number:064x}",
            name=f"box-{number}",
            argv=argv,
            layers=(str(self.image),),
            log=str(self.data / "logs" / f"box-{number}.log"),
            capabilities=final(),
            masked=paths.MASKED,
            readonly_paths=paths.READONLY,
        )
        return replace(base, **changes)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Runtime]:
        """A Runtime; whatever still runs at the end is killed and removed."""
        runtime = Runtime(
            self.run,
            self.data,
            revive=self.revive,
            on_exit=lambda id, record: self.ended.append((id, record)),
        )
        await runtime.open()
        try:
            yield runtime
        finally:
            for id in [path.name for path in (self.data / "containers").iterdir()]:
                await kill(runtime, id)
                await runtime.remove(id)
            await runtime.close()

    async def finish(self, runtime: Runtime, spec: ContainerSpec) -> tuple[ExitRecord, str]:
        """Run ``spec`` to its end. Returns how it ended and the text of its output."""
        await runtime.create(spec)
        await runtime.start(spec.id)
        record = await runtime.wait(spec.id)
        return record, self.output(spec)

    def output(self, spec: ContainerSpec) -> str:
        """What is in the log, without times and tags."""
        return "\n".join(whole_lines([Path(spec.log)]))

    def finished(self, *argv: str, **changes: Any) -> tuple[ExitRecord, str]:
        """All of it in one call: open, run to the end, close."""

        async def body() -> tuple[ExitRecord, str]:
            async with self.opened() as runtime:
                return await self.finish(runtime, self.spec(*argv, **changes))

        return asyncio.run(body())


async def kill(runtime: Runtime, id: str) -> None:
    """SIGKILL a container and wait for its end, if it runs."""
    link = runtime._links.by_id.get(id)
    if link is not None and link.started:
        await runtime.signal(id, 9)
        await runtime.wait(id)


async def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until ``true()``, or fail."""
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def whole_lines(paths: Iterable[Path]) -> list[str]:
    """The text of log files in order, partial records joined with what follows on their stream."""
    out: list[str] = []
    begun: dict[str, str] = {}
    for path in paths:
        for record in path.read_text().splitlines() if path.exists() else ():
            _, stream, tag, rest = record.split(" ", 3)
            begun[stream] = begun.get(stream, "") + rest
            if tag == "F":
                out.append(begun.pop(stream))
    return out + list(begun.values())


def cgroups(project: str) -> list[str]:
    """The control group directories of a project that are there."""
    top = Path("/sys/fs/cgroup")
    return [str(path) for root in (top, *top.iterdir()) if (path := root / "pycompose" / project).is_dir()]
