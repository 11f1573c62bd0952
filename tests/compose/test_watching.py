"""What changed files ask for, by the rules of develop.watch."""

from __future__ import annotations

from collections.abc import Callable

from compose.engine.watching import Rules, Task
from compose.model.service import Build, Hook, Service, Watch


def there(*gone: str) -> Callable[[str], bool]:
    return lambda path: path not in gone


def rules(*watch: Watch, ignored: str = "", build: bool = False) -> Rules:
    service = Service(name="web", develop=watch, build=Build(context="/p") if build else None)
    return Rules([service], {"/p": ignored} if build else {})


def test_a_saved_file_is_copied_and_a_vanished_one_removed() -> None:
    found = rules(Watch(path="/p/src", action="sync", target="/app"))
    assert found.tasks(["/p/src/a/b", "/p/src/c", "/p/other"], there("/p/src/c")) == [
        Task(
            service="web",
            copies=(("/p/src/a/b", "/app/a/b"),),
            removals=("/app/c",),
            caused=("/p/src/a/b", "/p/src/c"),
        )
    ]
    assert found.tasks(["/p/srcs/x"], there()) == []


def test_a_rule_may_name_one_file() -> None:
    found = rules(Watch(path="/p/f", action="sync", target="/etc/f"))
    assert found.tasks(["/p/f"], there())[0].copies == (("/p/f", "/etc/f"),)


def test_ignored_included_and_ephemeral_files() -> None:
    rule = Watch(
        path="/p/src", action="sync", target="/app", ignore=("node_modules", "**/*.log"), include=("**/*.js",)
    )
    wanted = ["/p/src/a.js", "/p/src/x/b.js"]
    others = ["/p/src/node_modules/c.js", "/p/src/d.log", "/p/src/e.txt", "/p/src/.a.js.swp", "/p/src/a.js~"]
    (task,) = rules(rule).tasks([*wanted, *others], there())
    assert list(task.caused) == wanted
    everything = rules(Watch(path="/p/src", action="sync", target="/app"))
    assert everything.tasks(["/p/src/.git/HEAD", "/p/src/4913", "/p/src/x/.#y"], there()) == []


def test_what_the_build_ignores_is_not_watched() -> None:
    found = rules(Watch(path="/p/src", action="rebuild"), ignored="src/tmp\n", build=True)
    assert found.tasks(["/p/src/tmp/x"], there()) == []
    assert found.tasks(["/p/src/x"], there())[0].rebuild


def test_actions_of_several_rules_come_together_by_service() -> None:
    hook = Hook(command=("reload",))
    found = rules(
        Watch(path="/p/a", action="sync+restart", target="/a"),
        Watch(path="/p/b", action="sync+exec", target="/b", exec=hook),
        Watch(path="/p/c", action="restart"),
    )
    (task,) = found.tasks(["/p/a/x", "/p/b/y", "/p/b/z"], there())
    assert task.restart and task.exec == (hook,)
    assert task.copies == (("/p/a/x", "/a/x"), ("/p/b/y", "/b/y"), ("/p/b/z", "/b/z"))
    (task,) = found.tasks(["/p/c/x"], there())
    assert task == Task(service="web", restart=True, caused=("/p/c/x",))
    assert found.paths == ("/p/a", "/p/b", "/p/c")


def test_an_initial_sync_takes_the_whole_path() -> None:
    found = rules(
        Watch(path="/p/a", action="sync", target="/a", initial_sync=True),
        Watch(path="/p/b", action="rebuild"),
    )
    assert found.first() == [Task(service="web", copies=(("/p/a", "/a"),), caused=("/p/a",))]
    assert (
        found.wants("web", "/p/a/x") and not found.wants("web", "/p/a/x~") and not found.wants("db", "/p/a/x")
    )
