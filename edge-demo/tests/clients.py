"""Drives the server with the clients of nnInteractive (nninteractive-client 2.6.0) and of MONAI Label (monailabel 0.8.5), as
3D Slicer and napari do.

python clients.py whole|first|monai ADDRESS FOLDER | expiry ADDRESS KEY
"""

import gzip
import io
import sys
import threading
import time

import httpx
import numpy as np
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession as Remote
from nnInteractive.inference.remote.remote_session import ServerAtCapacityError, SessionExpiredError

SHAPE = (24, 56, 72)


def refused(status, act, *words):
    try:
        act()
    except httpx.HTTPStatusError as error:
        detail = error.response.json()["detail"]
        assert error.response.status_code == status, (error.response.status_code, detail)
        assert all(word in detail for word in words), detail
    else:
        raise AssertionError("it should have been refused")


def whole(address, folder):
    url = f"http://{address}"
    load = lambda name, shape: np.fromfile(f"{folder}/{name}.raw", "u1").reshape(shape)
    volume = load("volume", SHAPE)
    wanted = [load(f"2DBox_{axis}", np.delete(SHAPE, axis)) for axis in range(3)]
    wanted3d = load("3DBox_volume", SHAPE)
    # Followed along each axis, whose slices came first for the command.
    axes = {axis: np.moveaxis(np.empty(SHAPE, "u1"), axis, 0).shape for axis in (0, 2)}
    followed = {axis: np.moveaxis(load(f"followed_{axis}", axes[axis]), 0, axis) for axis in axes}
    # Half-open, in the array's order.
    boxes = [
        [[11, 12], [10, 45], [20, 61]],
        [[2, 23], [27, 28], [20, 61]],
        [[2, 23], [10, 45], [40, 41]],
    ]
    with Remote(url) as one, Remote(url) as two:
        assert one.ping() and one.supports_undo and one.license
        assert one.supported_interactions == {"points": False, "bbox2d": True, "bbox3d": True, "scribble": False, "lasso": False}
        try:
            Remote(url)
        except ServerAtCapacityError:
            pass
        else:
            raise AssertionError("a third session of two")
        refused(400, lambda: one.set_target_buffer(np.zeros(SHAPE, "u1")), "set_image")
        one.set_do_autozoom(True)
        one.set_image(volume[None].astype("i2"), {"spacing": [2.0, 0.8, 0.8]})
        assert one.original_image_shape == (1, *SHAPE)
        refused(400, lambda: one.add_bbox_interaction(boxes[0], True), "set_target_buffer")
        refused(400, lambda: one.set_target_buffer(np.zeros((3, 4, 5), "u1")), "shape")
        refused(400, lambda: one.set_target_buffer(np.zeros(SHAPE, "f4")), "float32")

        # A box in each plane, in buffers of several types; steps back.
        for kind in ("u1", "bool", "i8", "u2"):
            target = np.zeros(SHAPE, kind)
            one.set_target_buffer(target)
            before = []
            for axis, box in enumerate(boxes):
                state = target.copy()
                changed = one.add_bbox_interaction(box, include_interaction=True)
                # What changes nothing is no step.
                assert (changed is None) == np.array_equal(state, target)
                if changed is not None:
                    before.append(state)
                    assert all(a < b for a, b in changed), changed
                # From the first box the object is followed; boxes in other planes correct their slices.
                found = np.take(target, box[axis][0], axis)
                assert np.array_equal(found, wanted[axis]), (kind, axis)
                assert axis or np.array_equal(target, followed[0]), kind
            # The same again changes nothing, and is no step.
            assert one.add_bbox_interaction(boxes[2], include_interaction=True) is None
            for state in reversed(before):
                assert one.undo() and np.array_equal(target, state)
            assert not one.undo() and not target.any()

        # Followed along another axis, too; a second box of the same plane speaks for the slices nearer to it.
        one.reset_interactions()
        one.add_bbox_interaction(boxes[2], include_interaction=True)
        assert np.array_equal(target, followed[2])
        one.reset_interactions()
        one.add_bbox_interaction(boxes[0], include_interaction=True)
        one.add_bbox_interaction([[17, 18], [14, 41], [26, 55]], include_interaction=True)
        assert np.array_equal(target[:14], followed[0][:14]) and target[17].any()
        one.reset_interactions()

        # In 3D, whose result takes the place of what is in its slices.
        box3d = [[3, 22], [10, 45], [20, 61]]
        one.add_bbox_interaction(boxes[0], include_interaction=True)
        one.add_bbox_interaction(box3d, include_interaction=True)
        assert np.array_equal(target, wanted3d)
        # A second box in a slice is a correction of that slice.
        assert one.add_bbox_interaction([[11, 12], [18, 30], [28, 44]], include_interaction=True)
        others = np.arange(SHAPE[0]) != 11
        assert target[11].any() and np.array_equal(target[others], wanted3d[others])
        assert one.undo()
        assert np.array_equal(target, wanted3d)

        # Another session sees nothing of it, and works at the same time.
        two.set_image(volume[None], {})
        other = np.zeros(SHAPE, "u1")
        two.set_target_buffer(other)
        assert not two.undo() and not other.any()
        threads = []
        for session, buffer in ((one, target), (two, other)):
            session.reset_interactions()
            assert not buffer.any()
            threads.append(threading.Thread(target=session.add_bbox_interaction, args=(box3d, True)))
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert np.array_equal(target, wanted3d) and np.array_equal(other, wanted3d)

        # An object to begin with.
        one.reset_interactions()
        begun = np.zeros(SHAPE, "u1")
        begun[11, 0:5, 0:5] = 1
        begun[20, 1, 1] = 1
        one.add_initial_seg_interaction(begun)
        one.add_bbox_interaction(boxes[0], include_interaction=True)
        assert np.array_equal(target[11], wanted[0]) and target[20, 1, 1] == 1
        assert one.undo() and np.array_equal(target, begun)

        # What this network cannot do is refused in words; the session goes on.
        refused(400, lambda: one.add_bbox_interaction(boxes[0], include_interaction=False), "leave out")
        refused(400, lambda: one.add_point_interaction([1, 2, 3], True), "boxes only")
        refused(400, lambda: one.add_scribble_interaction(begun, True), "boxes only")
        refused(400, lambda: one.add_lasso_interaction(begun, True), "boxes only")
        refused(400, lambda: one.add_bbox_interaction([[30, 40], [0, 5], [0, 5]], True), "axis 0")
        refused(400, lambda: one.set_image(volume[None].astype("f2"), {}), "float16")
        refused(400, lambda: one.set_image(volume[:, None], {}), "[1, slices, rows, columns]")
        refused(400, lambda: one.set_image(np.full((1, 2, 3, 4), np.nan, "f4"), {}))
        assert one._predict() is None
        assert one.heartbeat() > 500 and one.lease_status()["remaining_seconds"] > 500

        # Every number type gives the same mask, as the values are the same.
        for kind in ("u1", "u2", "i4", "u4", "i8", "u8", "f4", "f8"):
            one.set_image(volume[None].astype(kind), {})
            target = np.zeros(SHAPE, "u1")
            one.set_target_buffer(target)
            one.add_bbox_interaction(boxes[1], include_interaction=True)
            assert np.array_equal(target[:, 27], wanted[1]), kind
    Remote(url).close()


def first(address, folder):
    """The protocol of the extension before 1.0, as it sends it."""
    url = f"http://{address}"
    load = lambda name, shape: np.fromfile(f"{folder}/{name}.raw", "u1").reshape(shape)
    volume, followed, wanted3d = load("volume", SHAPE), load("followed_0", SHAPE), load("3DBox_volume", SHAPE)

    def saved(array):
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    def form(path, name, content, **more):
        answer = httpx.post(f"{url}/{path}", files={"file": (name, content, "application/octet-stream")}, timeout=60, **more)
        assert answer.status_code == 200
        return answer.json()

    def segment(mask):
        # The body is a plain form, whatever its header says.
        packed = gzip.compress(saved(mask.astype("u1")))
        return form("upload_segment", "volume.npy.gz", packed, headers={"Content-Encoding": "gzip"})

    def box(one, two, positive=True):
        asked = {"outer_point_one": one, "outer_point_two": two, "positive_click": positive}
        answer = httpx.post(f"{url}/add_bbox_interaction", json=asked, timeout=60)
        assert answer.status_code == 200
        if answer.headers["content-type"] == "application/json":
            return answer.json()
        bits = np.unpackbits(np.frombuffer(answer.content, "u1"))[: volume.size]
        return bits.reshape(SHAPE)

    assert httpx.get(url).status_code == 200
    corners = [11, 10, 20], [11, 45, 61]
    assert box(*corners)["message"] == "No image uploaded" == segment(volume)["message"]
    assert form("upload_image", "volume.npy", saved(volume.astype("i2"))) == {"status": "ok"}
    assert segment(np.zeros(SHAPE)) == {"status": "ok"}
    assert np.array_equal(box(*corners), followed)
    assert segment(np.zeros(SHAPE)) == {"status": "ok"}
    assert np.array_equal(box([22, 45, 61], [3, 10, 20]), wanted3d)
    # An object to begin with is corrected slice by slice.
    begun = np.zeros(SHAPE, "u1")
    begun[20, 1, 1] = 1
    assert segment(begun) == {"status": "ok"}
    found = box(*corners)
    assert np.array_equal(found[20], begun[20]) and found[11].any() and not found[12].any()
    point = httpx.post(f"{url}/add_point_interaction", json={"voxel_coord": [1, 2, 3], "positive_click": True})
    assert point.status_code == 200 and "boxes only" in point.json()["message"]
    assert "leave out" in box(*corners, positive=False)["message"]
    assert segment(np.zeros((2, 3, 4)))["status"] == "error"
    assert form("upload_image", "volume.npy", saved(volume)[:-1])["status"] == "error"
    assert form("upload_image", "volume.npy", saved(volume[0]))["status"] == "error"
    assert np.array_equal(box(*corners)[20], begun[20])


def monai(address, folder):
    load = lambda name: np.fromfile(f"{folder}/{name}.raw", "u1").reshape(SHAPE)
    client = MONAILabelClient(f"http://{address}", folder)
    assert not client.auth_enabled() and not client.train_status(check_if_running=True)
    models = client.info()["models"]
    assert all(model["type"] == "deepgrow" for model in models.values())
    session = client.create_session(f"{folder}/followed_0.nii")["session_id"]
    assert client.get_session(session)["session_id"] == session
    # Pairs along x, y and z, of which a volume in LPS has the greater first.
    roi = [60, 20, 44, 10, 3, 21]

    def infer(model, **parameters):
        path, told = client.infer(model, "followed_0", {"label": "liver", **parameters}, session_id=session)
        head, _, data = open(path, "rb").read().partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        assert told["label_names"] == {"liver": 1} and fields["sizes"].split() == [str(n) for n in SHAPE[::-1]]
        data = {"gzip": gzip.decompress, "raw": bytes}[fields["encoding"]](data)
        kind = {"uint8": "u1", "unsigned char": "u1", "uint16": "<u2", "unsigned short": "<u2"}[fields["type"]]
        return np.frombuffer(data, kind).reshape(SHAPE)

    assert np.array_equal(infer("umedsam_box", roi=roi), load("box"))
    followed = infer("umedsam_follow", roi=[60, 20, 44, 10, 3, 21], slice=11)
    assert np.array_equal(followed, load("slice"))
    one = infer("umedsam_slice", roi=roi, slice=11)
    assert np.array_equal(one[11], followed[11]) and not np.delete(one, 11, 0).any()
    for model, parameters, words in [("umedsam_box", {}, "region of interest"), ("other", {"roi": roi}, "this model")]:
        try:
            infer(model, **parameters)
        except MONAILabelClientException as error:
            assert words in error.msg, error.msg
        else:
            raise AssertionError("it should have been refused")
    client.remove_session(session)
    try:
        client.get_session(session)
    except MONAILabelClientException as error:
        assert error.status_code == 404
    else:
        raise AssertionError("the session should be gone")


def expiry(address, key):
    url = f"http://{address}"
    refused(401, lambda: Remote(url))
    with Remote(url, api_key=key) as one:
        assert one.idle_timeout_seconds == 2.0
        for _ in range(3):
            time.sleep(1.0)
            one.set_do_autozoom(False)
        time.sleep(1.5)
        one.heartbeat()
        time.sleep(1.5)
        try:
            one.undo()
        except SessionExpiredError:
            pass
        else:
            raise AssertionError("the session should have expired")
        # Its place is free.
        with Remote(url, api_key=key) as two:
            assert two.lease_status()["remaining_seconds"] > 1.0


{"whole": whole, "first": first, "monai": monai, "expiry": expiry}[sys.argv[1]](*sys.argv[2:])
print("all of it held")
