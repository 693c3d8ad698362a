"""Each truth of ``scenes`` is tied to another one that is made in another way."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core.errors import BadInput
from vergence.data.worlds.scenes import motion, outlines
from vergence.data.worlds.scenes.drawing import packed, part_distance
from vergence.data.worlds.scenes.pairs import homography, pairs
from vergence.data.worlds.scenes.pictures import pictures
from vergence.data.worlds.scenes.scene import COLOURS, TEXTURES, Options, combinations, generate
from vergence.data.worlds.scenes.shapes import AREA, CORNERS, NAMES, signed_distance
from vergence.data.worlds.scenes.truths import TRUTHS, View, displaced, tags

SIZE, SEEDS = 32, 1_000


@pytest.fixture(scope="module")
def view():
    return View(generate(3, np.arange(SEEDS), Options(articulated=True)), SIZE)


def plain(target):
    return target.as_subclass(torch.Tensor).numpy()


def test_a_scene_is_the_same_alone_and_in_any_batch_and_another_for_another_seed():
    rows = np.array([5, 900, 17])
    batch = pictures(generate(0, rows, Options()), 48)
    for row, picture in zip(rows, batch, strict=True):
        assert (pictures(generate(0, np.array([row]), Options()), 48)[0] == picture).all()
    assert (batch != pictures(generate(1, rows, Options()), 48)).any((1, 2, 3)).all()


@pytest.mark.parametrize("shape", range(len(NAMES)), ids=NAMES)
def test_a_shape_s_distance_is_that_to_the_nearest_of_many_points_of_its_outline(shape):
    scene = generate(0, np.arange(1), Options(objects=(1, 1)))
    scene = scene.replace(shape=np.array([[shape]]), angle=np.zeros((1, 1)), radius=np.ones((1, 1)))
    part = packed(scene.replace(centre=np.zeros((1, 1, 2))), 1)[0][0, 0]
    steps = np.linspace(0, 1, 2_000)
    curves = range(outlines.COUNT[shape])
    points = np.array([outlines._on_curve(part, c, t) for c in curves for t in steps])  # noqa: SLF001
    at = np.random.default_rng(0).uniform(-1.2, 1.2, (200, 2))
    slow = np.sqrt(((at[:, None] - points) ** 2).sum(-1)).min(1)
    fast = np.array([signed_distance(shape, x, y) for x, y in at])
    np.testing.assert_allclose(np.abs(fast), slow, atol=2e-3)
    inside = np.mean(
        [signed_distance(shape, x, y) < 0 for x, y in np.random.default_rng(1).uniform(-1, 1, (4_000, 2))]
    )
    assert 4 * inside == pytest.approx(AREA[shape], abs=0.1)


def test_boxes_are_the_extents_of_the_masks(view):
    boxes, instances = TRUTHS["boxes"](view), TRUTHS["instances"](view)
    assert torch.equal(boxes.of, instances.of) and torch.equal(boxes.label, instances.label)
    for box, mask in zip(plain(boxes.xyxy), plain(instances.masks), strict=True):
        y, x = np.nonzero(mask)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_what_is_seen_is_the_whole_without_what_lies_in_front_and_classes_follow(view):
    whole = view.distances < 0
    k = whole.shape[1]
    for slot in range(k):
        before = whole[:, slot + 1 :].any(1)
        assert ((whole[:, slot] & ~before) == view.modal[:, slot]).all()
    scene, slot = view.seen
    amodal = plain(TRUTHS["amodal"](view).masks)
    assert (amodal == whole[scene, slot]).all()
    classes = plain(TRUTHS["masks"](view).classes)
    instances = TRUTHS["instances"](view)
    for b, mask, label in zip(
        instances.of.numpy(), plain(instances.masks), instances.label.numpy(), strict=True
    ):
        assert (classes[b][mask] == label + 1).all()
    assert ((classes == 0) == ~view.modal.any(1)).all()


def test_the_nearest_of_all_that_cover_a_pixel_gives_its_depth_and_the_ground_is_beyond(view):
    covering = np.where(view.distances < 0, view.scenes.depth[..., None, None], np.inf)
    depth = plain(TRUTHS["depth"](view).values)
    things = np.isfinite(covering.min(1))
    np.testing.assert_allclose(depth[things], covering.min(1)[things], rtol=1e-6)
    assert depth[~things].min() >= 6 > depth[things].max()
    order = plain(TRUTHS["order"](view).values)
    for row, depths in zip(order, view.scenes.depth, strict=True):
        present = row >= 0
        assert (np.diff(depths[present]) <= 0).all() and (row[present] == np.arange(present.sum())).all()


def test_where_the_front_changes_a_contour_passes(view):
    near = plain(TRUTHS["distance"](view).values)[:, 0]
    contour = plain(TRUTHS["contours"](view).values)[:, 0]
    assert ((near <= 0.5) == (contour == 1)).all()
    for axis in (1, 2):
        one, other = (np.take(view.front, range(a, SIZE - 1 + a), axis) for a in (0, 1))
        least = np.minimum(*(np.take(near, range(a, SIZE - 1 + a), axis) for a in (0, 1)))
        assert least[one != other].max() <= 0.5 + 1e-4
    assert (plain(TRUTHS["boundaries"](view).maps) == contour).all()


def test_other_causes_lie_on_their_own_surfaces(view):
    depth, shadow, reflectance, normal = plain(TRUTHS["distance"](view).values).transpose(1, 0, 2, 3)
    ground = view.front < 0
    assert (shadow[~ground] > 1e5).all() and (normal[ground] > 1e5).all()
    smooth = np.isin(view.scenes.ground, [TEXTURES.index("plain"), TEXTURES.index("mottled")])
    assert (reflectance[smooth][ground[smooth]] > 1e5).all()
    assert (reflectance[~smooth][ground[~smooth]] < SIZE).all()
    folded = np.isfinite(view.scenes.fold)
    owner = np.maximum(view.front, 0)
    creased = np.take_along_axis(folded, owner.reshape(SEEDS, -1), 1).reshape(owner.shape) & ~ground
    assert ((normal < 1e5) == creased).all()


def test_the_shadow_is_dark_and_where_a_moved_outline_says(view):
    factor = plain(TRUTHS["light"](view).values)[:, 1]
    k = view.scenes.shape.shape[1]
    moved = view.scenes.replace(
        centre=view.scenes.centre + view.scenes.shadow, shadow=np.zeros((SEEDS, k, 2))
    )
    distance = View(moved, SIZE).distances.min(1)
    ground = view.front < 0
    np.testing.assert_allclose(view.shadow, distance, atol=1e-4)
    assert (factor[ground & (distance < -0.5)] == np.float32(0.6)).all() and (
        factor[distance > 0.5] == 1
    ).all()


def test_corners_lie_on_the_outline_and_are_the_same_points_of_each_shape(view):
    keypoints = TRUTHS["keypoints"](view)
    scene, slot = view.seen
    xy, seen = plain(keypoints.xy), keypoints.visibility.numpy()
    bodies = view.parts[:, 1::2]
    for n in np.random.default_rng(0).permutation(len(scene))[:300]:
        part = bodies[scene[n], slot[n]]
        known = np.arange(12) < max(CORNERS[int(part[1])], 4 if CORNERS[int(part[1])] < 3 else 0)
        assert all(abs(part_distance(part, *xy[n, i])) < 1e-4 for i in np.nonzero(known)[0])
        assert (seen[n][~known] == 0).all()
    seen_at = xy[seen == 2]
    of = np.repeat(scene, (seen == 2).sum(1))
    things = np.repeat(slot, (seen == 2).sum(1))
    pixel = np.floor(seen_at).astype(int)
    nearer = view.distances[of, :, pixel[:, 1], pixel[:, 0]]
    nearer[np.arange(nearer.shape[1]) <= things[:, None]] = np.inf
    assert nearer.min() > -0.75  # a pixel's centre is at most .71 from the point


def test_junctions_lie_on_two_outlines_and_corners_on_one(view):
    scene, xy, kind = outlines.junctions(view.scenes)
    unit = packed(view.scenes, 1)[0]
    assert min((kind == 0).sum(), (kind == 1).sum()) > SEEDS / 2
    for n in np.random.default_rng(0).permutation(len(scene))[:400]:
        present = unit[scene[n]][unit[scene[n], :, 0] > 0]
        distances = np.array([part_distance(part, *xy[n]) for part in present])
        touching = np.abs(distances) < 1e-8
        assert touching.sum() >= 1 + kind[n]
        front = np.nonzero(touching)[0].max() if kind[n] else np.nonzero(touching)[0].min()
        assert (distances[present[:, 7] > present[front, 7]] > -1e-8).all()


def test_sides_join_corners_and_their_seen_share_is_that_of_pixels_on_the_line():
    alone = View(generate(0, np.arange(SEEDS), Options(objects=(1, 1))), SIZE)
    segments = TRUTHS["segments"](alone)
    sides = np.bincount(segments.of, minlength=SEEDS)
    polygons = CORNERS[alone.scenes.shape[:, 0]] > 2
    assert (sides == np.where(polygons, CORNERS[alone.scenes.shape[:, 0]], 0)).all()
    ends = segments.ends.numpy()
    on_line = ends[:, :1] + np.linspace(0, 1, 2_001)[:, None] * (ends[:, 1:] - ends[:, :1])
    inside = ((on_line >= 0) & (on_line < SIZE)).all(2).mean(1)
    np.testing.assert_allclose(segments.share, inside, atol=1 / 33)
    assert 0.5 < (inside == 1).mean() < 1


def test_the_skeleton_of_a_disc_is_its_centre_and_every_ridge_is_inside():
    scene = generate(0, np.arange(1), Options(objects=(1, 1)))
    scene = scene.replace(shape=np.array([[0]]), centre=np.full((1, 1, 2), 0.5), radius=np.full((1, 1), 0.4))
    radius = plain(TRUTHS["skeleton"](View(scene, 65)).values)[0, 0]
    assert np.argwhere(radius).tolist() == [[32, 32]] and radius.max() == pytest.approx(0.36 * 65, rel=1e-4)


def test_captions_name_things_that_there_are_and_no_others(view):
    attributes, captions = TRUTHS["attributes"](view), TRUTHS["captions"](view)
    for row, (sentence, paragraph) in zip(attributes.values, captions.texts, strict=True):
        named = {word.strip(",.") for word in paragraph.split(". ", 1)[1].split()}
        known = {name for name, present in zip(attributes.names, row, strict=True) if present} - {"plain"}
        assert named & {*NAMES, *COLOURS, *TEXTURES} == known
        words = {word.strip(",.") for word in sentence.split(" on a")[0].split()}
        assert words & {*NAMES, *COLOURS, *TEXTURES} <= known


def test_labels_and_the_taxonomy_are_about_the_nearest_thing(view):
    nearest = [shape[count - 1] for shape, count in zip(view.scenes.shape, view.scenes.count, strict=True)]
    assert TRUTHS["labels"](view).values.tolist() == nearest
    upper, shape, fine = TRUTHS["taxonomy"](view).values.T
    assert shape.tolist() == nearest and (fine // len(TEXTURES) == shape).all()
    assert {int(s): int(u) for s, u in zip(shape, upper, strict=True)}[NAMES.index("star")] == 2


def test_things_move_rigidly_along_the_flow():
    moving = motion.clips(1, np.arange(SEEDS), Options(articulated=True), motion.Motion(frames=2))
    every = np.arange(2 * SEEDS).reshape(SEEDS, 2)
    now = View(moving.scenes.pick(every[:, :-1].ravel()), SIZE)
    after = View(moving.scenes.pick(every[:, 1:].ravel()), SIZE)
    uv = motion.flow(now, after).uv.numpy()
    pixels = np.argwhere(now.front_part >= 0)[::101]
    assert len(np.unique(pixels[:, 0])) > 0.95 * SEEDS
    for b, i, j in pixels:
        p = now.front_part[b, i, j]
        x, y = j + 0.5, i + 0.5
        then = part_distance(after.parts[b, p], x + uv[b, 0, i, j], y + uv[b, 1, i, j])
        assert abs(then - part_distance(now.parts[b, p], x, y)) < 1e-4
    ground = now.front < 0
    pan = (after.scenes.pan - now.scenes.pan) * SIZE
    np.testing.assert_allclose(
        uv.transpose(0, 2, 3, 1)[ground],
        np.broadcast_to(pan[:, None, None], (*ground.shape, 2))[ground],
        atol=1e-9,
    )


def test_tracks_stay_on_the_outlines_of_their_things():
    moving = motion.clips(2, np.arange(SEEDS), Options(articulated=True), motion.Motion(frames=2))
    tracks, parts = motion.tracks(moving, SIZE), packed(moving.scenes, SIZE)[0][:, 1::2]
    shape, present = moving.scenes.shape[::2], moving.scenes.present[::2]
    corners = np.array([n if n > 2 else 4 for n in CORNERS])  # compass points of what has none
    clip, slot, _ = np.nonzero(present[..., None] & (np.arange(12) < corners[shape][..., None]))
    assert tracks.of.tolist() == clip.tolist()
    xy = plain(tracks.xy)
    for n in range(0, len(clip), 7):
        for t in range(2):
            assert abs(part_distance(parts[2 * clip[n] + t, slot[n]], *xy[n, t])) < 1e-4


def test_tracks_go_with_their_clips_and_the_action_is_what_the_nearest_does():
    options = Options(objects=(1, 3))
    moving = motion.clips(2, np.arange(30), options, motion.Motion(frames=3, pan=0.0, flashes=True))
    tracks = motion.tracks(moving, SIZE)
    xy = plain(tracks.xy)
    assert xy.shape[1:] == (3, 2) and len(xy) == len(tracks.of)
    centre = moving.scenes.centre.reshape(30, 3, -1, 2)
    nearest = moving.scenes.nearest.reshape(30, 3)[:, 0]
    way = (centre[:, 2] - centre[:, 0])[np.arange(30), nearest]
    for (dx, dy), action in zip(way, moving.action, strict=True):
        name = motion.ACTIONS[action]
        expected = {"left": (-0.4, 0), "right": (0.4, 0), "up": (0, -0.4), "down": (0, 0.4)}.get(name, (0, 0))
        assert (dx, dy) == pytest.approx(expected, abs=1e-9)
    flash = moving.scenes.flash.reshape(30, 3, -1)
    for b in np.nonzero(moving.first >= 0)[0]:
        times = [int(flash[b, :, nearest[b] - back].argmax()) for back in (0, 1)]
        assert (times[0] < times[1]) == bool(moving.first[b])
    assert motion.sound(moving).values.shape == (30, 3, 16)


def test_pairs_agree_at_the_points_that_correspond():
    shift = np.random.default_rng(0).uniform(-0.1, 0.1, (3, 4, 2))
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1.0)])
    for matrix, moved in zip(homography(shift), square + shift, strict=True):
        to = np.c_[square, np.ones(4)] @ matrix.T
        np.testing.assert_allclose(to[:, :2] / to[:, 2:], moved, atol=1e-12)
    for by in ("homography", "edit"):
        first, second = pairs(0, np.arange(SEEDS), Options(objects=(2, 4)), by)
        one, two = View(first, 64), View(second, 64)
        points = np.full((SEEDS, 5, 2), 0.0) + np.random.default_rng(1).uniform(0.2, 0.8, (SEEDS, 5, 2))
        scene = np.arange(SEEDS)
        xy = two.in_picture(points, scene)
        back = np.einsum("bij,bnj->bni", two.to_scene, np.concatenate([xy, np.ones((SEEDS, 5, 1))], -1))
        np.testing.assert_allclose(back[..., :2] / back[..., 2:], one.in_picture(points, scene), atol=1e-9)
    first, second = pairs(0, np.arange(SEEDS), Options(), "style")
    assert (first.style != second.style).all() and (first.centre == second.centre).all()


def test_held_out_combinations_are_disjoint_and_a_third_less_than_half():
    seen, rare = ({tuple(row) for row in combinations(kind).tolist()} for kind in ("seen", "held-out"))
    assert not seen & rare and len(rare) / len(seen | rare) == pytest.approx(0.3, abs=0.002)
    for kind, allowed in (("seen", seen), ("held-out", rare)):
        scenes = generate(0, np.arange(200), Options(combinations=kind))
        every = np.stack([scenes.shape, scenes.colour, scenes.texture], -1)
        nearest = every[np.arange(200), scenes.nearest].tolist()
        assert {tuple(row) for row in nearest} <= allowed


def test_traps_are_as_large_as_they_were_asked_for():
    rows = np.arange(4_000)

    def nearest(scenes, name):
        return getattr(scenes, name)[rows, scenes.nearest]

    clean = generate(0, rows, Options())
    biased = generate(0, rows, Options(bias=0.9))
    share = (nearest(biased, "texture") == nearest(biased, "shape") % len(TEXTURES)).mean()
    assert share == pytest.approx(0.9 + 0.1 / len(TEXTURES), abs=0.02)
    noisy = generate(0, rows, Options(label_noise=0.3))
    assert (noisy.label != nearest(noisy, "shape")).mean() == pytest.approx(0.3, abs=0.03)
    assert (generate(0, rows, Options(minority=0.05)).style == 2).mean() == pytest.approx(0.05, abs=0.015)
    arrows = generate(0, rows, Options(arrow=0.5)).arrow
    assert (arrows >= 0).mean() == pytest.approx(0.5, abs=0.03) and (
        arrows[arrows >= 0] == clean.label[arrows >= 0]
    ).all()
    unlawful = generate(0, rows, Options(unlawful=0.2))
    against = (nearest(unlawful, "shadow") * unlawful.shadow[:, 0]).sum(-1)[unlawful.count > 1] < 0
    assert against.mean() == pytest.approx(0.2, abs=0.03)
    marks = generate(0, rows[:300], Options(small_marks=True))
    area = AREA[marks.shape[rows[:300], marks.nearest]] * marks.radius[rows[:300], marks.nearest] ** 2
    assert 0.02 <= area.min() < area.max() <= 0.06
    known = tags(View(generate(0, rows[:400], Options()), 8), 0, rows[:400], 0.4).known
    assert float(known.float().mean()) == pytest.approx(0.6, abs=0.03)


def test_individuals_look_alike_wherever_they_are():
    scenes = generate(0, np.arange(300), Options(identities=5))
    who = scenes.identity[scenes.present]
    assert set(who.tolist()) == set(range(5))
    for i in range(5):
        look = np.concatenate(
            [
                scenes.paint[scenes.present][who == i].reshape(sum(who == i), -1),
                scenes.period[scenes.present][who == i][:, None],
            ],
            1,
        )
        assert (look == look[0]).all() and len(set(scenes.shape[scenes.present][who == i].tolist())) == 1


def test_red_is_drawn_larger_than_blue():
    scene = generate(0, np.arange(8), Options())
    clean, fringed = pictures(scene, 64), pictures(scene, 64, aberration=0.05)
    assert (clean[..., 1] == fringed[..., 1]).all() and (clean[..., 0] != fringed[..., 0]).any()
    middle = np.abs(clean[:, 30:34, 30:34].astype(int) - fringed[:, 30:34, 30:34]).mean()
    edge = np.abs(clean[:, :4].astype(int) - fringed[:, :4]).mean()
    assert middle < edge


def test_a_picture_is_the_average_of_the_same_one_drawn_finer():
    scenes = generate(0, np.arange(10), Options(style="flat"))
    coarse, fine = (pictures(scenes, size).astype(float) for size in (48, 192))
    averaged = fine.reshape(10, 48, 4, 48, 4, 3).mean((2, 4))
    assert np.abs(coarse - averaged).mean() < 0.5  # of 255


def test_an_unsteady_hand_moves_all_of_a_scene_by_one_shift(view):
    rows = np.arange(SEEDS)
    clean = TRUTHS["keypoints"](view)
    moved = displaced(clean, view, 0, rows, 0.05)
    shift = (plain(moved.xy) - plain(clean.xy))[:, 0] / SIZE
    assert np.sqrt((shift**2).mean(0)) == pytest.approx([0.05, 0.05], rel=0.1)
    mask = plain(displaced(TRUTHS["masks"](view), view, 0, rows, 0.05).classes)
    assert 0 < (mask == -1).mean() < 0.2


@pytest.mark.parametrize(
    ("uri", "count", "targets"),
    [
        ("scenes?count=30&size=24", 30, 21),
        ("scenes?count=6&view=top&size=48&seed=4", 6, 21),
        ("scenes:video?count=3&frames=4&flashes&size=24&articulated=true", 12, 27),
        ("scenes:pairs?count=5&by=edit&size=24", 10, 23),
    ],
)
def test_a_world_opens_as_a_source_with_all_its_targets(uri, count, targets):
    source = vergence.open(uri)
    assert len(source) == count and len(source.targets) == targets
    batch = next(source.with_targets(source.targets, "the test").loader(4))
    assert len(batch.targets) == targets - 1 and len(batch) == 4
    for name in source.targets:
        assert type(source.target(name, np.arange(2))) is type(source.target(name))
    again = vergence.open(uri)
    assert (again.sample(2) == source.sample(2)).all() and (again.labels == source.labels).all()


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("scenes?objets=3", "did you mean 'objects'"),
        ("scenes?objects=many", "objects=2-8; got 'many'"),
        ("scenes?objects=5-2", "fewest <= most"),
        ("scenes:vidoe", "did you mean 'video'"),
        ("scenes?bias=2", "in \\[0, 1\\]"),
        ("scenes?style=oil", "textured, flat, outline, grey"),
        ("scenes?size=4", "8 to 4096"),
        ("scenes:video?frames=1", "2 frames or more"),
        ("scenes:pairs?by=luck", "homography, style, edit"),
        ("scenes?count=-3", "whole number"),
    ],
)
def test_a_wrong_option_is_one_clear_line(uri, line):
    with pytest.raises(BadInput, match=line):
        vergence.open(uri)
