"""The rules of ``build --check``: their names, what they say, and which of them a Dockerfile turns off.

Comes in:  the ``# check=`` directive or the argument BUILDKIT_DOCKERFILE_CHECK.
Goes out:  Settings; Finding values, worded as BuildKit words them.
Not here:  finding out whether a rule is broken (lint).
Source: docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

import re

from runtime.image.dockerfile.errors import DockerfileInvalid
from schemas.frozen import dataclass

RULES = {
    "StageNameCasing": "Stage name '{0}' should be lowercase",
    "FromAsCasing": "'{0}' and '{1}' keywords' casing do not match",
    "NoEmptyContinuation": "Empty continuation line",
    "ConsistentInstructionCasing": "Command '{0}' should match the case of the command majority ({1})",
    "DuplicateStageName": 'Duplicate stage name "{0}", stage names should be unique',
    "ReservedStageName": 'Stage name should not use the same name as reserved stage "{0}"',
    "JSONArgsRecommended": "JSON arguments recommended for {0} to prevent unintended behavior "
    "related to OS signals",
    "MaintainerDeprecated": "Maintainer instruction is deprecated in favor of using label",
    "UndefinedArgInFrom": "FROM argument '{0}' is not declared{1}",
    "WorkdirRelativePath": 'Relative workdir "{0}" can have unexpected results if the base image changes',
    "UndefinedVar": "Usage of undefined variable '${0}'{1}",
    "MultipleInstructionsDisallowed": "Multiple {0} instructions should not be used in the same stage "
    "because only the last one will be used",
    "LegacyKeyValueFormat": '"{0} key=value" should be used instead of legacy "{0} key value" format',
    "InvalidBaseImagePlatform": 'Base image {0} was pulled with platform "{1}", expected "{2}" '
    "for current build",
    "RedundantTargetPlatform": "Setting platform to predefined {0} in FROM is redundant as this is "
    "the default behavior",
    "SecretsUsedInArgOrEnv": 'Do not use ARG or ENV instructions for sensitive data ({0} "{1}")',
    "InvalidDefaultArgInFrom": "Default value for ARG {0} results in empty or invalid base image name",
    "FromPlatformFlagConstDisallowed": 'FROM --platform flag should not use constant value "{0}"',
    "CopyIgnoredFile": 'Attempting to {0} file "{1}" that is excluded by .dockerignore',
    "InvalidDefinitionDescription": "Comment for {0} should follow the format: `# {1} <description>`",
    "ExposeProtoCasing": "Defined protocol '{0}' in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": "EXPOSE instruction should not define an IP address or host-port mapping, "
    "found '{0}'",
}
EXPERIMENTAL = ("CopyIgnoredFile", "InvalidDefinitionDescription")
_PLACE = "https://docs.docker.com/go/dockerfile/rule/"
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: its name, what BuildKit says of it, the first and the last line, from 1."""

    rule: str
    message: str
    line: int
    end: int

    def url(self) -> str:
        """Where the rule is explained."""
        if self.rule == "InvalidBaseImagePlatform":
            return ""
        return f"{_PLACE}{re.sub(r'(?<=[a-z])(?=[A-Z])|(?<=JSON)', '-', self.rule).lower()}/"


@dataclass(frozen=True, slots=True)
class Settings:
    """``skip=a,b;experimental=c;error=true``; "all" in a set stands for every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def wants(self, rule: str) -> bool:
        """Whether ``rule`` is looked at."""
        if rule in EXPERIMENTAL:
            return bool(self.experimental & {rule, "all"})
        return not self.skip & {rule, "all"}


def settings(text: str) -> Settings:
    """Read the value of ``check``. Raises DockerfileInvalid."""
    sets: dict[str, frozenset[str]] = {}
    error = False
    for part in text.strip().split(";", 2) if text.strip() else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key in ("skip", "experimental") and equals:
            sets[key] = frozenset(word.strip() for word in value.split(","))
        elif key == "error" and value in (*_TRUE, *_FALSE):
            error = value in _TRUE
        else:
            raise DockerfileInvalid(
                f"failed to parse check options: invalid check option '{part.strip() if equals else key}'",
                hint="# check=skip=<rule>,<rule>;error=true",
            )
    return Settings(sets.get("skip", frozenset()), sets.get("experimental", frozenset()), error)
