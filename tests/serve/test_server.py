"""``icnet-serve`` from outside: answers, refusals, slow clients, the end, and many requests at once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pytorch_icnet.predict import Predictor
from pytorch_icnet.serve.cli import main
from pytorch_icnet.serve.client import main as ask
from pytorch_icnet.supervisely.annotation import annotation_of
from pytorch_icnet.supervisely.meta import Meta, ObjectClass, meta_of

from ..supervisely.small import annotation, points
from .running import Server, as_jpeg, as_png, bomb, image, label_map, serving, write_weights

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "narrow.safetensors")


@pytest.fixture(scope="module")
def predictor(weights: Path) -> Predictor:
    return Predictor(weights, backend="eager", threads=1)


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Server]:
    with serving(weights, "--queue", "64", "--max-bytes", "1000000", "--max-pixels", "1000000") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        yield opened


def post(client: httpx.Client, rgb: np.ndarray, query: str = "", **headers: str) -> httpx.Response:
    answer = client.post(f"predict{query}", content=as_png(rgb), headers={**PNG, **headers})
    assert answer.status_code == 200, answer.text
    return answer


def test_label_maps(client: httpx.Client, predictor: Predictor) -> None:
    for seed, size in enumerate([(48, 80), (31, 200), (100, 7)]):
        rgb = image(seed, size)
        labels = predictor.labels(rgb)
        assert (label_map(post(client, rgb).content) == labels).all()
        assert (label_map(post(client, rgb, "?format=colour").content) == labels).all()
    assert len(np.unique(labels)) > 1


def test_forms_of_answers(client: httpx.Client, predictor: Predictor) -> None:
    rgb = image(7)
    labels = predictor.labels(rgb)
    palette = predictor.classes.palette
    colour = cv2.imdecode(np.frombuffer(post(client, rgb, "?format=colour").content, np.uint8), cv2.IMREAD_COLOR)
    overlay = cv2.imdecode(np.frombuffer(post(client, rgb, "?format=overlay").content, np.uint8), cv2.IMREAD_COLOR)
    assert colour is not None and (colour[..., ::-1] == palette[labels]).all()
    blended = (rgb.astype(int) + palette[labels]) / 2
    assert overlay is not None and np.abs(overlay[..., ::-1] - blended).max() <= 0.5
    for answer in (post(client, rgb, "?format=annotation"), post(client, rgb, Accept="application/json")):
        assert answer.headers["content-type"] == "application/json"
        known = Meta(tuple(ObjectClass(name) for name in predictor.classes.names))
        found = annotation_of(answer.json(), known, "answer")
        indices = {name: index for index, name in enumerate(predictor.classes.names)}
        assert (found.label_map(indices, "answer", background=255) == labels).all()


def test_images_come_as_bodies_or_in_forms(client: httpx.Client, predictor: Predictor) -> None:
    rgb = image(3)
    labels = predictor.labels(rgb)
    form = client.post("predict", files={"image": ("x.bin", as_png(rgb), "application/octet-stream")})
    bare = client.post("predict", content=as_png(rgb), headers={"Content-Type": "application/octet-stream"})
    assert (label_map(form.content) == labels).all() and (label_map(bare.content) == labels).all()
    jpeg = client.post("predict", content=as_jpeg(rgb), headers={"Content-Type": "image/jpeg"})
    decoded = cv2.imdecode(np.frombuffer(as_jpeg(rgb), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert (label_map(jpeg.content) == predictor.labels(np.ascontiguousarray(decoded[..., ::-1]))).all()


def chunks() -> Iterator[bytes]:
    for _ in range(20):
        yield bytes(100_000)


GOOD = as_png(image(0))


@pytest.mark.parametrize(
    ("content", "kind", "status", "message"),
    [
        (b"", "image/png", 400, "no image"),
        (GOOD, "text/plain", 415, "expected an image"),
        (GOOD, "", 415, "expected an image"),
        (b"GIF89a" + bytes(100), "image/png", 415, "neither a PNG nor a JPEG"),
        (GOOD[:-20], "image/png", 422, "cut off"),
        (GOOD[:60] + b"x" + GOOD[61:], "image/png", 422, "damaged"),
        (as_jpeg(image(0))[:400], "image/jpeg", 422, "cut off"),
        (bomb(), "image/png", 413, "10000x10000 pixels are more than"),
        (bytes(1_000_001), "image/png", 413, "more than 1000000 bytes"),
        (chunks(), "image/png", 413, "more than 1000000 bytes"),
        (b"--x\r\n", "multipart/form-data", 400, "damaged form"),
        (b"--x\r\nno form", "multipart/form-data; boundary=x", 400, ""),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400, "no image"),
    ],
)
def test_refusals(client: httpx.Client, content: bytes, kind: str, status: int, message: str) -> None:
    answer = client.post("predict", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert post(client, image(1)).status_code == 200


def test_other_paths_methods_and_queries(client: httpx.Client) -> None:
    assert client.get("nothing").status_code == 404 and client.get("predict").status_code == 405
    wrong = client.post("predict?format=gif", content=GOOD, headers=PNG)
    assert wrong.status_code == 422 and "format" in wrong.json()["detail"]


def test_headers_and_no_permission_for_other_sites(client: httpx.Client) -> None:
    for path in ("", "docs", "healthz", "nothing"):
        headers = client.get(path, headers={"Origin": "http://evil.example"}).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"] and "server" not in headers
        assert not any(name.startswith("access-control") for name in headers)
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert client.options("predict", headers=asked).status_code == 405
    crossing = client.post("predict", content=GOOD, headers={**PNG, "Sec-Fetch-Site": "cross-site"})
    assert crossing.status_code == 403
    assert client.get("classes", headers={"Host": "rebound.example"}).status_code == 421


def test_pages_need_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("", "docs"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        text = page.text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text
    described = client.get("openapi.json").json()["paths"]
    assert {"/predict", "/classes", "/model/inference", "/model/get_out_meta"} <= described.keys()
    assert all(path in client.get("docs").text for path in described)


def test_health_classes_and_metrics(client: httpx.Client, predictor: Predictor) -> None:
    assert client.get("healthz").json() == {"status": "ok"} and client.get("readyz").json() == {"status": "ready"}
    classes = client.get("classes").json()
    assert [each["name"] for each in classes] == list(predictor.classes.names) and classes[0]["colour"] == "#804080"

    def count(status: int) -> float:
        lines = client.get("metrics").text.splitlines()
        name = f'icnet_requests_total{{path="/predict",status="{status}"}}'
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    before = count(200), count(415)
    post(client, image(1))
    client.post("predict", content=b"x", headers=PNG)
    assert (count(200), count(415)) == (before[0] + 1, before[1] + 1)
    assert "icnet_ready 1.0" in client.get("metrics").text and "icnet_body_bytes 0.0" in client.get("metrics").text


def test_supervisely_paths(client: httpx.Client, predictor: Predictor) -> None:
    rgb = image(4)
    meta = {"classes": [{"title": "box", "shape": "rectangle", "color": "#000000"}], "tags": []}
    bare = meta_of(client.post("model/get_output_meta").json(), "answer")
    assert [each.title for each in bare.classes] == [f"{name}_model" for name in predictor.classes.names]
    mode = json.dumps({"name": "bboxes", "save": True, "model_classes": {"add_suffix": "_x"}})
    out = client.post("model/get_out_meta", data={"meta": json.dumps(meta), "mode": mode})
    known = meta_of(out.json(), "answer")
    assert {"box", "box_input_bbox", "road_x"} <= {each.title for each in known.classes}
    parts = {
        "meta": json.dumps(meta),
        "mode": mode,
        "annotation": json.dumps(annotation(points("box", [[10, 5], [49, 34]]), size=(48, 80))),
    }
    answer = client.post("model/inference", files={"image": ("a.png", as_png(rgb))}, data=parts)
    assert answer.status_code == 200, answer.text
    found = annotation_of(answer.json(), known, "answer")
    expected = predictor.labels(np.ascontiguousarray(rgb[5:35, 10:50]))
    indices = {f"{name}_x": index for index, name in enumerate(predictor.classes.names)}
    kept = [figure for figure in found.figures if figure.title in indices]
    drawn = annotation_of(annotation(*[dict(each.as_data()) for each in kept], size=(48, 80)), known, "answer")
    labels = drawn.label_map(indices, "answer", background=255)
    assert (labels[5:35, 10:50] == expected).all() and (labels == 255).sum() == 48 * 80 - 30 * 40
    assert [figure.title for figure in found.figures if figure.title not in indices] == ["box", "box_input_bbox"]
    whole = client.post("model/inference", files={"image": ("a.png", as_png(rgb))})
    assert {each["classTitle"] for each in whole.json()["objects"]} == {
        f"{predictor.classes.names[index]}_model" for index in np.unique(predictor.labels(rgb))
    }


def test_client(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(as_png(image(4)))
    (tmp_path / "mode.json").write_text(json.dumps({"name": "roi", "bounds": {"left": "50%"}}))

    def run(*options: object) -> Result:
        return CliRunner().invoke(ask, ["--server-url", server.url, *map(str, options)])

    out = tmp_path / "out.json"
    done = run("--in-image", tmp_path / "a.png", "--mode", tmp_path / "mode.json", "--out-json", out)
    assert done.exit_code == 0, done.output
    parts = {"mode": (tmp_path / "mode.json").read_text()}
    same = client.post("model/inference", files={"image": ("a.png", as_png(image(4)))}, data=parts)
    assert json.loads(out.read_text()) == same.json()
    meta = run("--request-type", "get_output_meta")
    assert json.loads(meta.output) == client.post("model/get_out_meta").json()
    (tmp_path / "a.png").write_bytes(b"nothing")
    refused = run("--in-image", tmp_path / "a.png")
    assert refused.exit_code == 1 and "415: the image: neither a PNG nor a JPEG" in refused.output
    nobody = CliRunner().invoke(ask, ["--server-url", "http://127.0.0.1:9", "--request-type", "get_out_meta"])
    assert nobody.exit_code == 1 and "refused" in nobody.output and "Traceback" not in nobody.output


@pytest.mark.parametrize(
    ("parts", "status", "message"),
    [
        ({"mode": "{"}, 422, "mode: not JSON"),
        ({"mode": '{"name": "tiles"}'}, 422, 'mode: name is "tiles"'),
        ({"mode": '{"naem": "roi"}'}, 422, "no key naem; did you mean name?"),
        ({"meta": "[]"}, 422, "meta: not the classes"),
        ({"annotation": "{}"}, 422, "annotation: its size is null"),
        (
            {"annotation": json.dumps(annotation(size=(9, 9)))},
            422,
            "the image is 48x80, but its annotation is for another size",
        ),
        ({"mode": '{"name": "sliding_window", "window": {"width": 1, "height": 1}}'}, 422, "3840 parts of the image"),
    ],
)
def test_wrong_supervisely_requests(client: httpx.Client, parts: dict[str, str], status: int, message: str) -> None:
    answer = client.post("model/inference", files={"image": ("a.png", as_png(image(4)))}, data=parts)
    assert answer.status_code == status and message in answer.json()["detail"], answer.text


def test_supervisely_without_an_image(client: httpx.Client) -> None:
    assert client.post("model/inference", data={"mode": "{}"}).status_code in (400, 415)
    assert client.post("model/inference", files={"image": ("a.png", b"")}).status_code == 400
    assert client.post("model/inference").status_code == 400


def test_slow_clients_are_left_and_others_served(weights: Path) -> None:
    with serving(weights, "--timeout", "1.5") as server:
        begun = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(3)]
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"
        begun[0].sendall(head + GOOD[:100])
        begun[1].sendall(head[:40])
        assert httpx.post(f"{server.url}predict", content=GOOD, headers=PNG, timeout=30).status_code == 200
        assert b" 408 " in begun[0].recv(4096)
        assert begun[1].recv(4096) == begun[2].recv(4096) == b""
        for each in begun:
            each.close()


def test_the_end_lets_requests_finish(weights: Path) -> None:
    with serving(weights) as server:
        large = as_png(image(0, (2000, 3000)))
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{server.url}predict", content=large, headers=PNG, timeout=60))

        asking = threading.Thread(target=ask)
        asking.start()
        while "icnet_batch_size_count 2.0" not in httpx.get(f"{server.url}metrics", timeout=30).text:
            time.sleep(0.01)  # the first batch was the warm-up
        assert server.stop() == 0
        asking.join()
        assert [answer.status_code for answer in answers] == [200]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}healthz")


def test_wrong_use_is_said_in_one_line(weights: Path, tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    (tmp_path / "empty").write_text("\n")
    for options, message in [
        (("--weights", tmp_path / "none.pt"), "No such file"),
        (("--weights", weights, "--port", str(taken.getsockname()[1]), "--backend", "eager"), "cannot listen there"),
        (("--weights", weights, "--token-file", str(tmp_path / "empty")), "the token must be"),
        (("--weights", weights, "--token-file", str(tmp_path / "none")), "cannot be read"),
        (("--weights", weights, "--token", "a b"), "the token must be"),
    ]:
        found = CliRunner().invoke(main, [*map(str, options), "--device", "cpu"])
        assert found.exit_code == 1 and message in found.output and "Traceback" not in found.output, found.output
    taken.close()


BAD = {
    "truncated": (GOOD[: len(GOOD) // 2], "image/png", 422),
    "truncated JPEG": (as_jpeg(image(0))[:-30], "image/jpeg", 422),
    "bomb": (bomb(), "image/png", 413),
    "wrong type": (b"%PDF-1.4 nothing", "application/pdf", 415),
    "no image": (b"hello " * 50, "image/png", 415),
    "empty": (b"", "image/png", 400),
}


async def load(server: Server, predictor: Predictor, total: int, at_once: int) -> Counter[int]:
    """Send ``total`` requests, every tenth of them malformed, and check each answer."""
    images = [image(seed, (32 + 8 * (seed % 5), 64 + 16 * (seed % 3))) for seed in range(20)]
    bodies, expected = [as_png(rgb) for rgb in images], [predictor.labels(rgb) for rgb in images]
    wrong = list(BAD.items())
    statuses: Counter[int] = Counter()
    numbers = iter(range(total))

    async def worker(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if number % 10 == 9:
                name, (content, kind, status) = wrong[number // 10 % len(wrong)]
                answer = await client.post("predict", content=content, headers={"Content-Type": kind})
                assert answer.status_code == status, (name, answer.status_code, answer.text)
            else:
                index = number % len(images)
                answer = await client.post("predict", content=bodies[index], headers=PNG)
                assert answer.status_code == 200, answer.text
                assert (label_map(answer.content) == expected[index]).all(), f"request {number}"
            statuses[answer.status_code] += 1

    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        await asyncio.gather(*(worker(client) for _ in range(at_once)))
    return statuses


@pytest.mark.parametrize(("total", "at_once"), [(120, 16), pytest.param(1000, 64, marks=pytest.mark.slow)])
def test_many_requests_at_once(server: Server, predictor: Predictor, total: int, at_once: int) -> None:
    asyncio.run(load(server, predictor, 60, at_once))
    before = server.rss()
    statuses = asyncio.run(load(server, predictor, total, at_once))
    grown = server.rss() - before
    print(f"{total} requests, {at_once} at once: {dict(statuses)}; resident {before >> 20} MB, then {grown >> 20:+} MB")
    assert statuses[200] == total - total // 10 and sum(statuses.values()) == total
    assert grown < 64 << 20
    assert httpx.get(f"{server.url}healthz").status_code == 200


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1000)
        await asyncio.sleep(0.001)


def test_an_endless_body_is_cut_off(server: Server) -> None:
    async def ask() -> int:
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                return (await client.post(f"{server.url}predict", content=endless(), headers=PNG)).status_code
            except httpx.TransportError:
                return 413  # the connection was closed while the client was sending

    assert asyncio.run(ask()) == 413
