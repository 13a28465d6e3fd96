"""Attacks that read what is not theirs."""

from __future__ import annotations

from tests.hostile.core import Hostile, attack, code


@code(quick=True)
def read_the_ssh_key() -> str:
    """The key in the home of who grades."""
    return "won(open(HOME + '/.ssh/id_rsa').read())"


@code()
def read_the_key_by_its_real_path() -> str:
    """Through the working folder of whatever process there is."""
    return """
    for root in glob.glob("/proc/[0-9]*/root"):
        with contextlib.suppress(OSError):
            text = open(root + HOME + "/.ssh/id_rsa").read()
            won(text)
    """


@code()
def read_the_environment_of_the_grader() -> str:
    """Tokens are kept there."""
    return """
    for name in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if (data := open(name, "rb").read()).find(b"LAB5_SECRET") >= 0:
                won(data[data.find(b"LAB5_SECRET"):][:60])
    """


@code()
def read_its_own_environment() -> str:
    """What was handed down."""
    return """
    if "LAB5_SECRET" in os.environ or "secret-" in str(dict(os.environ)):
        won(os.environ)
    """


@code()
def read_the_checkpoint() -> str:
    """The file given with --weights, which has the answers."""
    return "import io; io.FileIO(WEIGHTS).read(1) and won('the checkpoint')"  # open() has a notebook's own


@code()
def read_the_neighbour() -> str:
    """Somebody else's hand-in, to copy from."""
    return "open(GOOD, 'rb').read(1) and won('the neighbour')"


@code()
def read_the_results() -> str:
    """What others got."""
    return "os.path.exists(JSON) and won('the results: ' + open(JSON).read()[:50])"


@code()
def read_what_the_grader_has_open() -> str:
    """By the descriptors of other processes."""
    return """
    for name in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(name).endswith(".zip") and open(name, "rb").read(1):
                won(name)
    """


@code()
def read_the_shadow_file() -> str:
    """The passwords of the system."""
    return "won(open('/etc/shadow').read()[:50])"


@code()
def mount_the_disk() -> str:
    """As root of a user namespace."""
    return """
    if subprocess.run(["unshare", "-rm", "sh", "-c",
                       f"mount --bind {HOME}/.ssh /mnt && cat /mnt/id_rsa"],
                      capture_output=True).stdout:
        won("mounted")
    """


@code()
def open_the_disk_itself() -> str:
    """The block devices, as root can."""
    return """
    for name in glob.glob("/dev/[vsn][dv]*") + ["/dev/mem", "/dev/kmsg"]:
        with contextlib.suppress(OSError):
            open(name, "rb").read(512)
            won(name)
    """


@code()
def read_the_memory_of_others() -> str:
    """Of each process whose memory is open to it."""
    return """
    for name in glob.glob("/proc/[0-9]*/mem"):
        with contextlib.suppress(OSError):
            pid = name.split("/")[2]
            if pid == str(os.getpid()):
                continue
            for line in open(f"/proc/{pid}/maps"):
                if "[stack]" in line:
                    with open(name, "rb") as memory:
                        memory.seek(int(line.split("-")[0], 16))
                        if b"LAB5_SECRET" in memory.read(1 << 20):
                            won("the secret in memory")
    """


@code()
def trace_the_grader() -> str:
    """By ptrace."""
    return """
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            other = pid not in (os.getpid(), os.getppid()) and MARK.encode() in open(f"/proc/{pid}/cmdline", "rb").read()
            if other and libc.ptrace(16, pid, 0, 0) == 0:
                libc.ptrace(17, pid, 0, 0)
                won("traced")
    """


@code()
def restore_its_privileges() -> str:
    """Any bit that makes it root again."""
    return """
    os.setuid(0)
    os.setgroups([0])
    won("root again")
    """


@attack("report")
def onnx_reads_the_key(h: Hostile) -> None:
    """The model's weights lie in the user's home."""
    from tests.hostile.onnx_files import external

    h.files["N26140692_FP32.onnx"] = external(f"{h.world.home}/.ssh/id_rsa")


@attack("report")
def typst_or_pdf_names_a_file(h: Hostile) -> None:
    """A PDF whose stream lies in another file."""
    from tests.hostile.pdf import document

    key = f"{h.world.home}/.ssh/id_rsa"
    h.files["N26140692_report.pdf"] = document(
        page="<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 5 0 R>>",
        more={5: f"<</Length 0/F({key})/FFilter[]>>stream\n\nendstream"},
    )
