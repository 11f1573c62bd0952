"""``build --check``: what is allowed in a Dockerfile and yet a mistake, by the names and words of BuildKit.

Comes in:  the text, build arguments, the ignore rules, how to learn the configuration of a base image.
Goes out:  a Report: findings in the order of lines, and the error that would stop a build, if any.
Not here:  the rules' words and switches (rules), the walk through one stage (lint_stage), printing.
Source: docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from runtime.errors import ImageError
from runtime.image.dockerfile import lint_stage, rules
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.ignore import Ignore
from runtime.image.dockerfile.instruction import Dockerfile, Instruction
from runtime.image.dockerfile.lint_stage import Note, Noting, Stage, nearest
from runtime.image.dockerfile.parse import parse
from runtime.image.dockerfile.words import expand, split
from runtime.image.errors import InvalidReference
from runtime.image.manifest import ImageConfig, host_platform
from runtime.image.reference import parse as parse_reference
from schemas.frozen import dataclass

Base = Callable[[str, str], ImageConfig | None]
ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
RESERVED = ("context", "scratch")


@dataclass(frozen=True, slots=True)
class Report:
    """findings: by line. fatal: whether the file wants a build to fail for them. error: what stops a build
    in any case, None when nothing was found."""

    findings: tuple[rules.Finding, ...] = ()
    fatal: bool = False
    error: ImageError | None = None

    def clean(self) -> bool:
        """Nothing to say."""
        return not self.findings and self.error is None

    def violation(self) -> str:
        """The error of a build that ``error=true`` stops, "" when it does not."""
        names = list(dict.fromkeys(finding.rule for finding in self.findings))
        return f"lint violation found for rules: {', '.join(names)}" if self.fatal and names else ""


def no_base(reference: str, platform: str) -> ImageConfig | None:
    """Nothing is known of base images: what depends on their variables is not reported."""
    return None


def lint(
    text: str,
    *,
    file: str = "Dockerfile",
    args: Mapping[str, str] | None = None,
    target: str = "",
    platform: str = "",
    ignore: Ignore | None = None,
    base: Base = no_base,
) -> Report:
    """Look at the whole of ``text``, or at the stages that ``target`` needs.

    base: the configuration of an image by (reference, platform), None if that is not to be known; what it
          raises as ImageError becomes the report's error.
    """
    given = args or {}
    found: list[rules.Finding] = []
    wanted = rules.Settings()
    error: ImageError | None = None
    try:
        parsed = parse(text, file)
        directive = dict(parsed.directives).get("check", "").partition(" ")[0]
        wanted = rules.settings(given.get(ARGUMENT) or directive)
        _Look(parsed, given, platform, ignore, base, found).all(target)
    except DockerfileInvalid as problem:
        error = DockerfileInvalid(problem.bare, line=problem.line, file=file, hint=problem.hint)
    except ImageError as problem:
        error = problem
    kept = sorted((one for one in found if wanted.wants(one.rule)), key=lambda one: one.line)
    return Report(tuple(kept), wanted.error, error)


class _Look:
    """One look at a file; ``found`` is filled while it goes on, so that an error does not lose it."""

    def __init__(
        self,
        parsed: Dockerfile,
        args: Mapping[str, str],
        platform: str,
        ignore: Ignore | None,
        base: Base,
        found: list[rules.Finding],
    ) -> None:
        self._parsed, self._given, self._ignore, self._base, self._found = parsed, args, ignore, base, found
        self._platform = platform or host_platform()
        self._escape = parsed.escape
        self._stages: list[Stage] = []
        self._global: list[Instruction] = []

    def all(self, target: str) -> None:
        """Everything. Raises DockerfileInvalid, ImageError."""
        self._form()
        self._cut()
        self._names()
        self._casing()
        defaults = self._arguments({})
        self._defaults(defaults)
        outer = self._arguments(self._given)
        for stage in self._stages:
            with lint_stage.placed(stage.head):
                self._from(stage, outer)
        self._indexes()
        for stage in self._needed(target):
            self._walk(stage, outer)

    def _note(self, rule: str, at: Instruction, *words: str) -> None:
        self._found.append(rules.Finding(rule, rules.RULES[rule].format(*words), at.line, at.end))

    # --- what can be seen in each instruction alone

    def _form(self) -> None:
        for one in self._parsed.instructions:
            if one.gap:
                last = one.end - sum(here.content.count("\n") + 1 for here in one.heredocs)
                message = rules.RULES["NoEmptyContinuation"]
                self._found.append(rules.Finding("NoEmptyContinuation", message, last, last))
            if one.name == "MAINTAINER":
                self._note("MaintainerDeprecated", one)
            elif one.name == "FROM":
                self._from_words(one)
            elif one.name == "ARG":
                names = [word.partition("=")[0] for word in split(one.rest, self._escape, keep_quotes=True)]
                self._description(one, "ARG", names)

    def _from_words(self, one: Instruction) -> None:
        if len(one.words()) < 3:
            return
        _, as_, name = one.words()
        if name != name.lower():
            self._note("StageNameCasing", one, name)
        same = as_.lower() if one.word.islower() else as_.upper()
        if (one.word.islower() or one.word.isupper()) and as_ != same:
            self._note("FromAsCasing", one, as_, one.word)
        self._description(one, "FROM", [name.lower()])

    def _description(self, one: Instruction, kind: str, names: Sequence[str]) -> None:
        if one.comments and one.comments[-1].split(" ")[0] not in names:
            example = names[0] if len(names) == 1 else "<arg_key>"
            self._note("InvalidDefinitionDescription", one, kind, example)

    # --- what needs the whole file

    def _cut(self) -> None:
        for one in self._parsed.instructions:
            if one.name == "FROM":
                self._stages.append(Stage(one, len(self._stages)))
            elif self._stages:
                self._stages[-1].instructions.append(one)
            elif one.name == "ARG":
                self._global.append(one)
            else:
                raise DockerfileInvalid(f"{one.name} comes before FROM", line=one.line)
        if not self._stages:
            raise DockerfileInvalid("there is no FROM", line=self._parsed.instructions[-1].line)

    def _names(self) -> None:
        seen: set[str] = set()
        for stage in self._stages:
            if stage.name in RESERVED:
                self._note("ReservedStageName", stage.head, stage.name)
            if stage.name in seen:
                self._note("DuplicateStageName", stage.head, stage.name)
            seen.update({stage.name} - {""})

    def _casing(self) -> None:
        every = [one for stage in self._stages for one in (stage.head, *stage.instructions)]
        lower = sum(one.word.islower() for one in every) > sum(one.word.isupper() for one in every)
        for one in every:
            if one.word != (one.word.lower() if lower else one.word.upper()):
                case = "lowercase" if lower else "uppercase"
                self._note("ConsistentInstructionCasing", one, one.word, case)

    def _arguments(self, given: Mapping[str, str]) -> dict[str, str | None]:
        """Global arguments, None for one that is declared without a value. Raises DockerfileInvalid."""
        known: dict[str, str | None] = dict(lint_stage.predefined(self._platform, self._given))
        for one in self._global:
            for word in split(one.rest, self._escape, keep_quotes=True):
                name, equals, default = word.partition("=")
                if name in given:
                    known[name] = given[name]
                elif equals:
                    with lint_stage.placed(one):
                        known[name] = expand(default, _set(known), self._escape)
                else:
                    known.setdefault(name, None)
        return known

    def _defaults(self, defaults: Mapping[str, str | None]) -> None:
        for stage in self._stages:
            word = stage.head.words()[0]
            try:
                parse_reference(expand(word, _set(defaults), self._escape))
            except InvalidReference:
                self._note("InvalidDefaultArgInFrom", stage.head, word)
            except DockerfileInvalid:
                return

    def _from(self, stage: Stage, outer: Mapping[str, str | None]) -> None:
        """The base of a stage, expanded. Raises DockerfileInvalid."""
        noting = Noting(_set(outer))
        stage.base = expand(stage.head.words()[0], noting, self._escape)
        self._undeclared(stage, noting, outer)
        if not stage.base:
            raise DockerfileInvalid(
                f"base name ({stage.head.words()[0]}) should not be blank", hint="is its ARG set?"
            )
        wish = stage.head.flag("platform")
        if not wish:
            return
        noting = Noting(_set(outer))
        stage.platform = expand(wish, noting, self._escape)
        self._undeclared(stage, noting, outer)
        if (
            noting.known == {"TARGETPLATFORM"}
            and not noting.unknown
            and stage.platform == outer["TARGETPLATFORM"]
        ):
            self._note("RedundantTargetPlatform", stage.head, wish)
        if not noting.known and not noting.unknown and stage.platform:
            system, _, machine = stage.platform.partition("/")
            if not any(part and part in stage.name for part in (system, machine.partition("/")[0])):
                self._note("FromPlatformFlagConstDisallowed", stage.head, stage.platform)
        if not stage.platform:
            raise DockerfileInvalid(f"empty platform value from expression {wish}")

    def _undeclared(self, stage: Stage, noting: Noting, outer: Mapping[str, str | None]) -> None:
        for name in noting.unknown:
            if name not in outer:
                close = nearest(name, outer)
                meant = f" (did you mean {close}?)" if close else ""
                self._note("UndefinedArgInFrom", stage.head, name, meant)

    # --- stage by stage

    def _indexes(self) -> None:
        for stage in self._stages:
            for one in stage.instructions:
                word = one.flag("from") if one.name == "COPY" else ""
                if word.isdigit() and int(word) >= len(self._stages):
                    raise DockerfileInvalid(f"invalid stage index {word}", line=one.line)

    def _needed(self, target: str) -> list[Stage]:
        """Every stage, or those that ``target`` is made from, in order. Raises DockerfileInvalid."""
        if not target:
            return self._stages
        goal = self._find(target, len(self._stages))
        if goal is None:
            raise DockerfileInvalid(f"target stage '{target}' could not be found")
        wanted: dict[int, Stage] = {}
        todo = [goal]
        while todo:
            stage = todo.pop()
            wanted[stage.number] = stage
            words = [stage.base, *lint_stage.sources(stage)]
            found = (self._find(word, stage.number) for word in words)
            todo += [one for one in found if one is not None and one.number not in wanted]
        return [wanted[number] for number in sorted(wanted)]

    def _find(self, word: str, before: int) -> Stage | None:
        earlier = self._stages[:before]
        if word.isdigit():
            return earlier[int(word)] if int(word) < len(earlier) else None
        return next((stage for stage in reversed(earlier) if word and stage.name == word.lower()), None)

    def _walk(self, stage: Stage, outer: Mapping[str, str | None]) -> None:
        parent = self._find(stage.base, stage.number) if not stage.base.isdigit() else None
        if parent is not None:
            stage.inherit(parent)
        elif stage.base == "scratch":
            stage.start(ImageConfig(), self._escape)
        else:
            with lint_stage.placed(stage.head):
                stage.start(self._base(stage.base, stage.platform or self._platform), self._escape)
        note: Note = self._note
        lint_stage.Walk(stage, _set(outer), self._given, self._escape, self._ignore, note).all()


def _set(arguments: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in arguments.items() if value is not None}
