"""Small layers that resize, look at regions and boxes, or go through time."""

from __future__ import annotations

import numpy as np

from .draw import Array, Draw, Small, layer


@layer("Interp")
def interp(d: Draw) -> Small:
    block = d.of(
        "zoom_factor: 2",
        "shrink_factor: 2",
        "shrink_factor: 3 zoom_factor: 2",
        f"height: {d.between(1, 9)} width: {d.between(1, 9)}",
        "zoom_factor: 3 height: 5 width: 4",
    )
    pads = f"pad_beg: {-d.between(0, 1)} pad_end: {-d.between(0, 1)}"
    return Small(f"interp_param {{ {block} {pads} }}", [d.image(least=3)])


@layer("Resize")
def resize(d: Draw) -> Small:
    block = d.of(
        f"height: {d.between(1, 9)} width: {d.between(1, 9)}",
        "is_pyramid_test: true out_height_scale: 1.5 out_width_scale: 0.75",
    )
    return Small(f"resize_param {{ {block} }}", [d.image(least=2)])


@layer("LSTM")
def lstm(d: Draw) -> Small:
    return _recurrent(d, 2)


@layer("RNN")
def rnn(d: Draw) -> Small:
    return _recurrent(d, 1)


def _recurrent(d: Draw, states: int) -> Small:
    steps, streams, size = d.between(1, 4), d.between(1, 3), d.between(1, 4)
    bottoms = [
        d.normal(steps, streams, *(d.between(1, 3) for _ in range(d.between(1, 2)))),
        d.labels(2, steps, streams),
    ]
    if d.of(True, False):
        bottoms.append(d.normal(streams, d.between(1, 3)))
    exposed = d.of(True, False)
    if exposed:
        bottoms += [d.normal(1, streams, size) for _ in range(states)]
    block = f"num_output: {size} {'expose_hidden: true' if exposed else ''}"
    return Small(f"recurrent_param {{ {block} }}", bottoms, 1 + states if exposed else 1)


def _regions(d: Draw, images: int) -> Array:
    corners = np.sort(d.random.uniform(-4, 40, (d.between(1, 4), 2, 2)), axis=1).reshape(-1, 4)
    return np.hstack([d.labels(images, len(corners), 1), corners])


@layer("ROIPooling")
def roi_pooling(d: Draw) -> Small:
    x = d.image()
    block = f"pooled_h: {d.between(1, 4)} pooled_w: {d.between(1, 4)} spatial_scale: {d.of(0.25, 0.1)}"
    return Small(f"roi_pooling_param {{ {block} }}", [x, _regions(d, len(x))])


@layer("PSROIPooling")
def position_sensitive_roi_pooling(d: Draw) -> Small:
    group, outputs = d.between(1, 3), d.between(1, 3)
    x = d.image(group * group * outputs)
    block = f"spatial_scale: {d.of(0.25, 0.1)} output_dim: {outputs} group_size: {group}"
    return Small(f"psroi_pooling_param {{ {block} }}", [x, _regions(d, len(x))])


@layer("PriorBox")
def prior_box(d: Draw) -> Small:
    block = f"min_size: 3.7 {d.maybe('max_size: 8.2')}{d.maybe('aspect_ratio: 2')}{d.maybe('aspect_ratio: 3.5')}"
    block += f"{d.maybe('flip: false')}{d.maybe('clip: true')}{d.maybe('offset: 0.25')}"
    block += d.of("", "variance: 0.2", "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2")
    block += d.of("", " step: 5", " step_h: 5 step_w: 6", " img_size: 30", " img_h: 30 img_w: 40")
    return Small(f"prior_box_param {{ {block} }}", [d.image(), d.normal(1, 3, 20, 24)])


@layer("DetectionOutput")
def detection_output(d: Draw) -> Small:
    images, priors, classes = d.between(1, 2), d.between(1, 8), d.between(2, 3)
    share = d.of(True, False)
    low = d.random.uniform(0, 0.7, (priors, 2))
    boxes = np.hstack([low, low + d.random.uniform(0.1, 0.3, (priors, 2))])
    prior = np.stack([boxes.reshape(-1), np.full(4 * priors, 0.1)])[None]
    scores = d.random.permutation(images * priors * classes).reshape(images, -1) / (images * priors * classes)
    block = f"num_classes: {classes} code_type: {d.of('CORNER', 'CENTER_SIZE', 'CORNER_SIZE')} "
    block += f"nms_param {{ nms_threshold: {d.of(0.1, 0.45, 0.8)} {d.maybe('top_k: 4')}{d.maybe('eta: 0.7')} }} "
    block += f"{'' if share else 'share_location: false '}{d.maybe('keep_top_k: 3')}"
    block += f"{d.maybe('confidence_threshold: 0.5')}{d.maybe('variance_encoded_in_target: true')}"
    offsets = 0.3 * d.normal(images, priors * 4 * (1 if share else classes))
    return Small(f"detection_output_param {{ {block} }}", [offsets, scores, prior])


@layer("Correlation")
def correlation(d: Draw) -> Small:
    x = d.normal(d.between(1, 2), d.between(1, 3), d.between(6, 8), d.between(6, 8))
    block = f"kernel_size: {d.of(1, 3)} max_displacement: {d.between(1, 2)} pad: {d.between(1, 3)} "
    block += f"stride_1: {d.between(1, 2)} stride_2: {d.between(1, 2)} {d.maybe('correlation_type: SUBTRACT')}"
    return Small(f"correlation_param {{ {block} }}", [x, d.normal(*x.shape)])
