"""Solids: each truth against another one that is made in another way."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core.errors import BadInput
from vergence.data.worlds.shapes3d import camera, render, solids
from vergence.data.worlds.shapes3d.clouds import clouds
from vergence.data.worlds.shapes3d.primitives import PRIMITIVES

SIZE = 32


def views(count=25, seed=3):
    rows = np.arange(count)
    groups = solids.generate(seed, rows)
    middle = np.zeros((count, 3))
    for group in groups:
        middle[group.where] = group.middle
    return groups, camera.anywhere(seed, rows, middle)


def cast(groups, cameras, size):
    """Return depths by Möller and Trumbore's test of every ray with every triangle; infinite beside them."""
    depth = np.full((len(cameras.azimuth), size, size), np.inf)
    at = (np.arange(size) + 0.5 - size / 2) / camera.focal(size)
    x, y = np.meshgrid(at, at)
    for group in groups:
        for n, i in enumerate(group.where):
            ray = (np.stack([x, y, np.ones_like(x)], -1) @ cameras.rotation[i]).reshape(-1, 1, 3)
            a, b, c = np.moveaxis(group.vertices[n][group.faces], 1, 0)
            cross = np.cross(ray, c - a)
            det = (cross * (b - a)).sum(-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                from_a = cameras.position[i] - a
                u = (from_a * cross).sum(-1) / det
                q = np.cross(from_a, b - a)
                v = (ray * q).sum(-1) / det
                far = (q * (c - a)).sum(-1) / det
                met = (u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0)
            depth[i] = np.where(met, far, np.inf).min(1).reshape(size, size)
    return depth


def test_an_individual_is_the_same_alone_and_in_any_batch_and_another_for_another_seed():
    source, other = (vergence.open(f"shapes3d?count=50&size={SIZE}&seed={seed}") for seed in (0, 1))
    batch = next(source.subset([7, 3, 42]).loader(3)).pixels
    for row, picture in zip((7, 3, 42), batch, strict=True):
        assert (source.sample(row) == picture.permute(1, 2, 0).numpy()).all()
    assert (source.sample(7) != other.sample(7)).any()


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_is_closed_faces_outward_and_holds_its_inside(name):
    made = PRIMITIVES[name]
    edges = np.concatenate([made.faces[:, [0, 1]], made.faces[:, [1, 2]], made.faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert {tuple(e) for e in edges} == {tuple(e[::-1]) for e in edges}
    assert np.abs(made.vertices).max() <= 0.5 + 1e-12
    a, b, c = np.moveaxis(made.vertices[made.faces], 1, 0)
    volume = (np.cross(a, b) * c).sum() / 6
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200_000, 3))
    assert volume > 0
    assert 0.9 * volume < made.inside(points).mean() < 1.01 * volume  # the round ones' is within flat faces
    middle = (a + b + c) / 3
    assert not made.inside(middle).any()


def test_depth_is_that_of_rays_against_every_triangle():
    groups, cameras = views()
    seen = render.surfaces(groups, cameras, SIZE, ground=False)
    slow = cast(groups, cameras, SIZE)
    met = np.isfinite(slow)
    assert met.any((1, 2)).all()
    assert (met != np.isfinite(seen.depth)).mean() < 1e-4  # rays through an edge, by rounding
    both = met & np.isfinite(seen.depth)
    np.testing.assert_allclose(seen.depth[both], slow[both], atol=1e-9)
    assert ((seen.part >= 0) == np.isfinite(seen.depth)).all()


def test_the_ground_is_at_height_zero_and_behind_what_stands_on_it():
    groups, cameras = views()
    seen, bare = (render.surfaces(groups, cameras, SIZE, ground=ground) for ground in (True, False))
    at = (np.arange(SIZE) + 0.5 - SIZE / 2) / camera.focal(SIZE)
    x, y = np.meshgrid(at, at)
    ray = np.stack([x, y, np.ones_like(x)], -1) @ cameras.rotation[:, None]
    ground = seen.part == render.GROUND
    height = (cameras.position[:, None, None] + np.where(ground, seen.depth, 0)[..., None] * ray)[..., 2]
    assert np.abs(height[ground]).max() < 1e-9
    solid = bare.part >= 0
    assert (seen.depth[solid] <= bare.depth[solid] + 1e-12).all()
    lowest = min(group.vertices[..., 2].min() for group in groups)
    assert lowest == pytest.approx(0, abs=1e-9)  # nothing lies under the ground


def test_a_pose_maps_a_solid_s_points_to_where_they_are_seen():
    uri = f"shapes3d?count=30&size={64}&seed=3"
    source = vergence.open(uri)
    rows = np.arange(30)
    pose = source.target("pose", rows).values.double().numpy()
    masks = torch.as_tensor(source.target("instances", rows).masks).numpy()
    cloud = clouds(3, rows, 300)
    seen = np.einsum("bij,bnj->bni", pose[..., :3], cloud.xyz) + pose[:, None, :, 3]
    at = camera.focal(64) * seen[..., :2] / seen[..., 2:] + 64 / 2
    place = np.clip(np.floor(at).astype(int), 0, 64 - 1)
    hit = masks[rows[:, None], place[..., 1], place[..., 0]]
    assert hit.mean() > 0.9  # the rest lies on the outline's pixels, whose centres see past it
    moved = [np.clip(place + step, 0, 64 - 1) for step in np.argwhere(np.ones((3, 3))) - 1]
    near = [masks[rows[:, None], one[..., 1], one[..., 0]] for one in moved]
    assert np.any(near, axis=0).mean() > 0.999


def test_a_turn_of_the_camera_is_a_turn_of_the_pose():
    source = vergence.open(f"shapes3d:turntable?count=3&steps=8&size={SIZE}")
    pose = source.target("pose").values.double().numpy().reshape(3, 8, 3, 4)
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])  # about z
    for step in range(8):
        turned = pose[:, step, :, :3] @ quarter.T
        np.testing.assert_allclose(pose[:, (step + 2) % 8, :, :3], turned, atol=1e-6)
    np.testing.assert_allclose(
        pose[..., 3], np.broadcast_to(pose[:, :1, :, 3], pose[..., 3].shape), atol=1e-6
    )
    assert source.target("group").values.tolist() == np.repeat(range(3), 8).tolist()


def test_an_orbit_moves_by_small_steps_and_in_the_end_elsewhere():
    source = vergence.open(f"shapes3d:orbit?count=10&steps=16&size={SIZE}")
    turn = source.target("pose").values.double().numpy().reshape(10, 16, 3, 4)[..., :3]

    def degrees(a, b):
        cosine = (np.einsum("...ij,...ij->...", a, b) - 1) / 2
        return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))

    assert degrees(turn[:, :-1], turn[:, 1:]).max() < 10
    assert degrees(turn[:, 0], turn[:, -1]).min() > 25


def test_masks_boxes_and_depth_belong_together():
    source = vergence.open(f"shapes3d?count=30&size={SIZE}")
    rows = np.arange(30)
    masks, instances, boxes, depth = (
        source.target(n, rows) for n in ("masks", "instances", "boxes", "depth")
    )
    solid = torch.as_tensor(instances.masks)
    labels = torch.from_numpy(source.labels)
    assert torch.equal(torch.as_tensor(masks.classes), (solid * (1 + labels)[:, None, None]).to(torch.int16))
    for box, mask in zip(torch.as_tensor(boxes.xyxy).tolist(), solid.numpy(), strict=True):
        y, x = np.nonzero(mask)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert depth.values[solid].isfinite().all()
    assert depth.values[solid].max() < camera.DISTANCE[1] + 1.1


def test_a_cloud_lies_on_the_outer_surface_with_its_normals():
    rows = np.arange(60)
    cloud = clouds(0, rows, 400)
    np.testing.assert_allclose(np.linalg.norm(cloud.normal, axis=2), 1, atol=1e-9)
    for group in solids.generate(0, rows):
        xyz, normal, part = (a[group.where] for a in (cloud.xyz, cloud.normal, cloud.part))
        out, within = xyz + 1e-3 * normal, xyz - 4e-3 * normal
        for p, name in enumerate(group.primitives):
            own, inside = part == p, PRIMITIVES[name].inside
            assert not inside(group.local(xyz, p))[~own].any()
            assert not inside(group.local(out, p))[own].any()
            if name in ("box", "wedge"):
                assert inside(group.local(within, p))[own].mean() > 0.8
        assert set(part.ravel()) <= set(range(len(solids.part_names(group.kind))))
    assert (cloud.kind == solids.labels(0, rows)).all()


def test_no_kind_looks_the_same_from_two_sides():
    for kind in range(len(solids.NAMES)):
        row = np.flatnonzero(solids.labels(5, np.arange(200)) == kind)[:1]
        group = solids.generate(5, row)
        turns = np.arange(12) * 2 * np.pi / 12
        middle = group[0].middle
        outlines = []
        for turn in turns:
            one = camera.Cameras(np.array([turn]), np.array([0.4]), np.zeros(1), np.array([3.5]), middle)
            outlines.append(render.surfaces(group, one, 64, ground=False).part[0])
        for i in range(12):
            for j in range(i):
                assert (outlines[i] != outlines[j]).sum() > 20, (solids.NAMES[kind], i, j)


def test_what_cannot_be_opened_is_one_line():
    for uri, line in (
        ("shapes3d:orbti", "did you mean 'orbit'"),
        ("shapes3d?colour=3", "Unknown option of shapes3d 'colour'"),
        ("shapes3d?size=4", "of 8 to 2048 pixels"),
        ("shapes3d?count=x", "count of shapes3d is a whole number"),
    ):
        with pytest.raises(BadInput, match=line):
            vergence.open(uri)
    with pytest.raises(BadInput, match="1 or more points"):
        clouds(0, np.arange(2), 0)
