"""Drives the server with nnInteractive's own client (nninteractive-client 2.6.0), as 3D Slicer and napari do.

python nninteractive.py whole ADDRESS FOLDER | expiry ADDRESS KEY
"""

import sys
import threading
import time

import httpx
import numpy as np
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


{"whole": whole, "expiry": expiry}[sys.argv[1]](*sys.argv[2:])
print("all of it held")
