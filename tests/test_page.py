"""The page over HTTP: the answers, the languages, and what a stranger with the public link can do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from pictures import READABLE, TOO_SLOW, UNREADABLE, saved, scene, slow_jpeg

from lab5.assignment import APP_TITLE, CLASSES, LABEL_COMPARISON
from lab5.models import cached_pair as make_pair
from lab5.text import LANGUAGES
from lab5.web.page import QUEUE_FULL
from lab5.web.uploads import MAX_FILE, MAX_MESSAGE

API = "/gradio_api"
CALL = f"{API}/call/compare_fp32_int8"
GONE = "This picture is no longer on the server; please upload it again."


@pytest.fixture(scope="module")
def pair(weights):
    return make_pair(weights)


@pytest.fixture(scope="module")
def demo(pair, tmp_path_factory):
    """The page as ``python -m lab5.app`` serves it, on a free port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        from lab5.web.page import build_demo

        demo = build_demo(*pair)
        demo.launch(prevent_thread_lock=True, quiet=True)
        yield demo
        demo.close()


@pytest.fixture(scope="module")
def client(demo):
    with httpx.Client(base_url=demo.local_url, timeout=120) as client:
        yield client


def send(client: httpx.Client, name: str, data: bytes) -> str:
    """Upload a file: its path on the server."""
    answer = client.post(f"{API}/upload", files={"files": (name, data)})
    answer.raise_for_status()
    return answer.json()[0]


def ask(client: httpx.Client, picture, language: str = "en-US,en") -> tuple[str, list | dict]:
    """Submit a picture: the event (``complete`` or ``error``) and its data."""
    headers = {"Accept-Language": language}
    started = client.post(CALL, json={"data": [picture]}, headers=headers)
    started.raise_for_status()
    found = client.get(f"{CALL}/{started.json()['event_id']}", headers=headers).text
    event, data = found.strip().split("\n")[-2:]
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def file(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def data_url(data: bytes) -> dict:
    return {"url": "data:image/png;base64," + base64.b64encode(data).decode(), "path": None}


# The assignment's page


def test_the_interface_is_the_assignments(demo):
    import gradio as gr

    assert isinstance(demo, gr.Interface)
    assert [(type(c), c.type) for c in demo.input_components] == [(gr.Image, "pil")]
    assert [(type(c), c.label) for c in demo.output_components] == [
        (gr.Label, "FP32 Top-3"),
        (gr.Label, "INT8 Top-3"),
        (gr.Textbox, LABEL_COMPARISON),
    ]
    assert demo.title == APP_TITLE


def test_an_answer_has_both_top_3_and_the_comparison(client):
    event, (fp32, int8, text) = ask(client, file(send(client, "a.png", saved(scene(), "PNG"))))
    assert event == "complete"
    for label in (fp32, int8):
        assert len(label["confidences"]) == 3
        assert {c["label"] for c in label["confidences"]} <= set(CLASSES)
        assert label["label"] == label["confidences"][0]["label"]
    assert [line.split(":")[0] for line in text.splitlines()[:3]] == ["FP32", "INT8", "Speedup"]


def test_submitting_nothing_asks_for_a_picture(client):
    assert ask(client, None)[1][2] == "Please upload a picture first."
    assert ask(client, None, "zh-TW,zh;q=0.9")[1][2] == "請先上傳一張圖片。"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-TW"),
        ("zh-Hant", "zh-TW"),
        ("ZH", "zh-TW"),
        ("en-US,en;q=0.9,zh-TW;q=0.8", "en"),
        ("ja", "en"),
        ("*", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_browsers_first_language_decides(header, language):
    from lab5.web.page import language_of

    assert language_of(header) == language


def test_title_and_description_come_in_both_languages(client):
    translations = client.get("/config").json()["i18n_translations"]
    assert set(translations) == {"en", "zh-TW"}
    assert set(translations["en"]) == set(translations["zh-TW"])
    assert translations["en"]["title"] == APP_TITLE
    for texts in translations.values():
        assert all(name in texts["description"] for name in CLASSES)


def click(client: httpx.Client, demo, inputs: list, data: list, session: str) -> dict:
    """What the browser's click on a button or an example sends: the output of its event."""
    (number,) = (n for n, f in demo.fns.items() if f.fn and f.inputs == inputs)
    body = {"data": data, "fn_index": number, "session_hash": session}
    client.post(f"{API}/queue/join", json=body).raise_for_status()
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ") or "{}")
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("the event never completed")


def test_an_example_answers_and_stays_when_uploads_are_deleted(client, demo):
    from lab5.web.page import _delete_uploads

    _delete_uploads(demo, 0)
    (examples,) = (b for b in demo.blocks.values() if b.get_block_name() == "dataset")
    for number in range(len(examples.samples)):
        picture, fp32, _, text = click(client, demo, [examples], [number], f"e{number}")["data"]
        assert client.get(f"{API}/file={picture['path']}").status_code == 200
        assert fp32["label"] == Path(picture["path"]).stem
        assert text.startswith("FP32: ")


def test_after_an_example_a_picture_is_still_read_as_any_other(client, demo):
    """gradio replaces a component that an event updates, for the rest of the session."""
    (examples,) = (b for b in demo.blocks.values() if b.get_block_name() == "dataset")
    click(client, demo, [examples], [0], "same")
    bad = file(send(client, "a.png", b"no picture"))
    answer = click(client, demo, demo.input_components, [bad], "same")["data"]
    assert answer[2].startswith("This file is no picture")
    elsewhere = file("http://127.0.0.1:9/a.png")
    answer = click(client, demo, demo.input_components, [elsewhere], "same")["data"]
    assert answer[2] == GONE


def test_whoever_finds_the_queue_full_is_told_so_in_the_own_language(client, demo, monkeypatch):
    monkeypatch.setattr(demo._queue, "max_size", 0)
    for language in LANGUAGES:
        answer = client.post(CALL, json={"data": [None]}, headers={"Accept-Language": language})
        assert answer.status_code == 429
        assert answer.json() == {"detail": QUEUE_FULL.say(language)}


# Any picture


@pytest.mark.parametrize("kind", READABLE)
def test_every_kind_of_picture_gets_an_answer(kind, client):
    name, make, _ = READABLE[kind]
    event, data = ask(client, file(send(client, name, make())))
    assert event == "complete"
    assert data[2].startswith("FP32: ")


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_gets_a_sentence_in_the_readers_language(kind, client, request):
    name, make, why = UNREADABLE[kind]
    if why == TOO_SLOW:
        request.getfixturevalue("hurried")
    picture = file(send(client, name, make()))
    event, (fp32, int8, sentence) = ask(client, picture)
    assert event == "complete"
    assert not fp32.get("confidences")
    assert not int8.get("confidences")
    assert why in sentence
    assert sentence.endswith(".")
    assert "/" not in sentence
    assert ask(client, picture, "zh-TW")[1][2].endswith("。")


def test_a_data_url_gets_the_answer_of_its_file(client):
    data = saved(scene(), "PNG")
    by_file, by_url = ask(client, file(send(client, "a.png", data))), ask(client, data_url(data))
    assert by_file[1][:2] == by_url[1][:2]


# A stranger with the public link


def test_no_file_of_the_server_is_readable(client, demo, pair):
    secret = Path(__file__)
    for path in (secret, pair[0], "/etc/passwd", "/proc/self/environ", "../../../etc/passwd"):
        for route in (
            f"{API}/file={path}",
            f"{API}/file={quote(str(path), safe='')}",
            f"/file={path}",
        ):
            assert client.get(route).status_code in (403, 404), route
        for picture in (file(str(path)), {"path": str(path)}, {"path": str(path), "meta": {}}):
            assert ask(client, picture)[1][2] == GONE


@pytest.fixture
def traps(client, demo, tmp_path):
    """Files that no message may have opened, some of which would never let go of who opens them."""
    uploads = Path(demo.GRADIO_CACHE)
    picture = tmp_path / "private.png"
    picture.write_bytes(saved(scene(), "PNG"))
    folder = uploads / "another page's"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture.read_bytes())
    (folder / "link.png").symlink_to(picture)
    (uploads / "linked").symlink_to(tmp_path)
    for pipe in (folder / "pipe.png", tmp_path / "pipe.png"):
        os.mkfifo(pipe)
    mine = send(client, "mine.png", saved(scene(9, 5), "PNG"))
    yield [
        *map(str, (picture, tmp_path / "pipe.png", tmp_path, *folder.iterdir(), folder)),
        str(uploads / "linked" / "private.png"),
        *("/dev/zero", "/dev/stdin", "/dev/tty", "/proc/self/fd/0", "/proc/self/mem"),
        *("/proc/self/root/etc/passwd", os.path.relpath(picture), os.path.relpath(mine)),
        f"{Path(mine).parent}/../{Path(mine).parent.name}/mine.png",
        *(f"{mine}/", f"/{mine}", f"{mine}\0", f"{mine}\0.png", f"file://{mine}", mine.upper()),
        *("\0", "", ".", "~", "x" * 5000, "/x" * 5000, "\udcff.png", "\\\\host\\share\\a.png"),
    ]
    shutil.rmtree(folder)
    (uploads / "linked").unlink()


def test_no_message_gets_a_file_opened_that_was_not_uploaded(client, demo, traps):
    """Each gets the same sentence, whether the file exists or not, and whoever comes next an answer."""
    meta = {"_type": "gradio.FileData"}
    for path in traps:
        for extra in ({}, {"meta": meta}, {"meta": 5}, {"url": "x"}, {"url": f"file://{path}"}):
            picture = {"path": path} | extra
            body = json.dumps({"data": [picture]})  # httpx would refuse half a character
            started = client.post(CALL, content=body, headers={"Content-Type": "application/json"})
            found = client.get(f"{CALL}/{started.json()['event_id']}").text
            assert GONE in found, picture
    for picture in ([], [file(traps[0])], "x", traps[0], 7, True, {"path": [traps[0]]}, {"url": 5}):
        assert ask(client, picture)[1][2] == GONE
    answer = click(client, demo, demo.input_components, [{"path": traps[0]}], "trap")
    assert answer["data"][2] == GONE
    test_an_answer_has_both_top_3_and_the_comparison(client)


def test_no_route_serves_a_file_that_was_not_uploaded(client, traps):
    for path in traps:
        if not path.isprintable() or path == ".":  # httpx resolves it
            continue
        name = quote(path, safe="")
        for route in (f"{API}/file={name}", f"/file={name}", f"{API}/file/{name}"):
            assert client.get(route).status_code == 404, route


def test_nothing_but_a_number_names_an_example(client, demo, traps):
    (examples,) = (b for b in demo.blocks.values() if b.get_block_name() == "dataset")
    before = set(Path(demo.GRADIO_CACHE).rglob("*"))
    for value in (traps[0], file(traps[0]), file("http://example.org/a.png"), [0], 99, 0.5, None):
        assert click(client, demo, [examples], [value], "example") == {"error": None}
    assert set(Path(demo.GRADIO_CACHE).rglob("*")) == before


def test_a_slow_picture_is_refused_and_the_next_visitor_answered(client, hurried):
    begin = time.monotonic()
    slow = file(send(client, "slow.jpg", slow_jpeg()))
    assert "takes too long to read" in ask(client, slow)[1][2]
    test_an_answer_has_both_top_3_and_the_comparison(client)
    assert time.monotonic() - begin < 30


def test_the_server_fetches_nothing_for_a_visitor(client):
    for address in ("http://127.0.0.1:9/a.png", "https://example.org/a.png", "ftp://example.org/a"):
        assert ask(client, file(address))[1][2] == GONE
        assert client.get(f"{API}/file={address}").status_code in (403, 404)
        assert client.get(f"{API}/proxy={address}").status_code == 404


@pytest.mark.parametrize(
    "route", ["/monitoring", "/monitoring/summary", f"{API}/monitoring/summary"]
)
def test_there_is_no_monitoring_page(client, route):
    assert client.get(route).status_code == 404


def test_links_that_write_files_and_run_history_are_closed(client):
    for route in (
        "deep_link?session_hash=x",
        "runs",
        "run-history/records",
        "dev/reload",
        "vibe-code",
    ):
        assert client.get(f"{API}/{route}").status_code == 404


def test_analytics_and_flagging_are_off(demo, client):
    assert demo.analytics_enabled is False
    assert demo.flagging_mode == "never"
    assert client.get("/config").json()["analytics_enabled"] is False
    assert not any(
        c["props"].get("value") == "Flag" for c in client.get("/config").json()["components"]
    )


def test_an_upload_above_the_limit_is_refused(client):
    answer = client.post(f"{API}/upload", files={"files": ("a.png", bytes(MAX_FILE + 1))})
    assert answer.status_code == 413


@pytest.mark.parametrize("route", [CALL, f"{API}/queue/join"])
def test_a_message_above_the_limit_is_refused(client, route):
    body = {"data": [{"url": "data:image/png;base64," + "A" * MAX_MESSAGE, "path": None}]}
    assert client.post(route, json=body).status_code == 413


def test_a_body_without_a_length_is_limited_too(client):
    def endless():
        for _ in range(4 * MAX_MESSAGE // 65536):
            yield bytes(65536)

    try:
        status = client.post(CALL, content=endless()).status_code
    except httpx.TransportError:  # the server hung up while more was coming
        status = 0
    assert status != 200


def test_nobody_gets_round_the_queue(client, demo):
    assert all(function.queue for function in demo.fns.values() if function.fn)
    for route in ("run/compare_fp32_int8", "api/compare_fp32_int8", "run/predict", "api/predict"):
        body = {"data": [None], "fn_index": 0}
        assert client.post(f"{API}/{route}", json=body).status_code == 404


def test_errors_show_no_path_and_no_traceback(client, demo):
    for picture in (file("/nowhere/a.png"), {"path": 5}, {"nonsense": True}, "text", [1], 7):
        started = client.post(CALL, json={"data": [picture]})
        found = started.text
        if started.status_code == 200:
            found = client.get(f"{CALL}/{started.json()['event_id']}").text
        for word in ("Traceback", "site-packages", ".py", str(Path.home())):
            assert word not in found


def test_uploads_are_deleted_and_their_folders_too(client, demo, monkeypatch):
    from lab5.web import page

    assert page.SWEEP <= 60
    assert page.KEPT <= 600
    path, young = (Path(send(client, f"{c}.png", saved(scene(c, 9), "PNG"))) for c in (8, 9))
    monkeypatch.setattr(page, "SWEEP", 0.1)

    async def a_moment():
        async with page._sweeping(demo.app):
            await asyncio.sleep(0.5)
            assert young.exists()
            monkeypatch.setattr(page, "KEPT", 0)
            await asyncio.sleep(0.5)

    asyncio.run(a_moment())
    for upload in (path, young):
        assert not upload.parent.exists()
        assert str(upload) not in demo.upload_file_set
    assert ask(client, file(str(path)))[1][2] == GONE


def test_uploads_that_arrive_during_a_clean_up_do_not_end_it(demo, tmp_path, monkeypatch):
    """gradio's own clean-up dies then ("Set changed size during iteration") and never comes back."""
    from lab5.web import page

    old = [tmp_path / str(n) / "a.png" for n in range(3)]
    for path in old:
        path.parent.mkdir()
        path.touch()
    monkeypatch.setattr(demo, "temp_file_sets", [created := {str(path) for path in old}])
    unlink = Path.unlink

    def while_another_arrives(path):
        created.add(f"{path} and another")
        unlink(path)

    monkeypatch.setattr(Path, "unlink", while_another_arrives)
    page._delete_uploads(demo, 0)
    assert not any(path.parent.exists() for path in old)


def test_a_name_with_folders_in_it_stays_in_the_upload_folder(client, demo):
    path = Path(send(client, "../../../" + secrets.token_hex(4) + ".png", b"x"))
    assert Path(demo.app.uploaded_file_dir).resolve() in path.resolve().parents


def test_other_sites_may_not_read_the_answers(client):
    headers = {"Origin": "https://evil.example"}
    answer = client.get("/config", headers=headers)
    assert answer.headers.get("access-control-allow-origin") != "https://evil.example"
