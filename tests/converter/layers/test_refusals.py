"""What Caffe refuses is an error that says what is wrong, in one line with file, line and layer."""

from __future__ import annotations

import pytest

from converter import NetError, UnsupportedLayersError, summary

from .single import net_of

PLANE = (2, 4, 7, 9)
CASES: list[tuple[str, list[tuple[int, ...]], str]] = [
    ("ReLU", [], "takes 1 bottom, has 0"),
    ("ReLU", [PLANE, PLANE], "takes 1 bottom, has 2"),
    ("ReLU top: 'x' top: 'y'", [PLANE], "takes 1 top, has 2"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 3 }", [PLANE, PLANE], "a top for each bottom"),
    (
        "Convolution convolution_param { num_output: 5 kernel_size: 3 group: 2 }",
        [PLANE],
        "cannot be split into 2 groups",
    ),
    ("Convolution convolution_param { num_output: 4 kernel_size: 3 stride: 0 }", [PLANE], "stride is \\[0, 0\\]"),
    ("Convolution convolution_param { num_output: 4 kernel_size: [1, 2, 3] }", [PLANE], "kernel is given 3 times"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 3 pad: [1, 2, 3] }", [PLANE], "pad is given 3 times"),
    ("Convolution convolution_param { num_output: 4 kernel_h: 3 kernel_w: 3 }", [(2, 4, 9)], "two spatial axes, not 1"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 9 }", [PLANE], "leaves nothing"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 1 axis: 4 }", [PLANE], "axis 4 is out of range"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 1 }", [(1, 2, 3, 4, 5, 6)], "4 spatial axes is not"),
    ("InnerProduct inner_product_param { num_output: 2000000000 }", [PLANE], "more than Caffe can hold"),
    ("Deconvolution convolution_param { num_output: 4 kernel_size: 1 pad: 5 }", [PLANE], "leaves nothing"),
    ("Im2col convolution_param { kernel_size: 8 }", [PLANE], "is not supported"),
    ("InnerProduct inner_product_param { num_output: 3 normalize: true }", [PLANE], "normalize is not supported"),
    ("InnerProduct inner_product_param { num_output: 0 }", [PLANE], "which a filler cannot fill"),
    ("Convolution convolution_param { num_output: 4 kernel_size: 1 }", [(2, 0, 7, 9)], "which a filler cannot fill"),
    ("Embed embed_param { num_output: 3 }", [(4,)], "input_dim 0 must be at least 1"),
    ("Pooling pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }", [PLANE], "either kernel_size, or kernel_h"),
    ("Pooling pooling_param { kernel_h: 2 }", [PLANE], "either kernel_size, or kernel_h"),
    ("Pooling pooling_param { kernel_size: 2 pad_h: 1 }", [PLANE], "either pad, or pad_h and pad_w"),
    ("Pooling pooling_param { kernel_size: 2 stride: 1 stride_h: 1 stride_w: 1 }", [PLANE], "either stride, or"),
    ("Pooling pooling_param { kernel_size: 2 pad: 2 }", [PLANE], "must be smaller than the kernel"),
    ("Pooling pooling_param { kernel_size: 2 pad: 1 pool: STOCHASTIC }", [PLANE], "stochastic pooling has no padding"),
    ("Pooling pooling_param { global_pooling: true stride: 2 }", [PLANE], "pad 0 and stride 1"),
    ("Pooling pooling_param { kernel_size: 10 }", [PLANE], "leaves nothing"),
    ("Pooling top: 'y' top: 'm' pooling_param { kernel_size: 2 pool: AVE }", [PLANE], "a mask is for MAX"),
    ("Pooling pooling_param { kernel_size: 2 }", [(2, 4, 7)], "needs a 4-D bottom"),
    ("SPP spp_param { pyramid_height: 4 }", [PLANE], "8x8 windows do not fit"),
    ("SPP", [PLANE], "pyramid_height must be at least 1"),
    ("Upsample", [PLANE, (2, 4, 7, 8)], "must have the shape of the bottom"),
    ("Upsample upsample_param { scale: 3 pad_out_h: true }", [PLANE, PLANE], "and 2 with pad_out"),
    ("Upsample upsample_param { scale_h: 3 }", [PLANE, PLANE], "or scale_h and scale_w"),
    ("BN", [(2, 4)], "needs a 4-D bottom"),
    ("BatchNorm", [(4,)], "at least 2 axes"),
    ("BatchNorm param { lr_mult: 1 }", [PLANE], "need lr_mult: 0"),
    ("LRN lrn_param { local_size: 4 }", [PLANE], "must be odd"),
    ("MVN", [(1, 2, 3, 4, 5)], "at most 4 axes"),
    ("PReLU", [(4,)], "at least 2 axes"),
    ("CReLU top: 'a'", [PLANE], "in place"),
    ("AbsVal top: 'a'", [PLANE], "in place"),
    ("Flatten top: 'a'", [PLANE], "in place"),
    ("Exp exp_param { base: 0 }", [PLANE], "base must be positive"),
    ("Log log_param { base: 1 }", [PLANE], "no logarithm to base 1"),
    ("Eltwise eltwise_param { coeff: 1 }", [PLANE, PLANE], "1 coefficients for 2 bottoms"),
    ("Eltwise", [PLANE, (2, 4, 7, 8)], "one shape"),
    ("Eltwise", [PLANE], "2 or more bottoms"),
    ("Scale scale_param { axis: 2 num_axes: 3 }", [PLANE], "more than a 4-D bottom has"),
    ("Scale scale_param { num_axes: -2 }", [PLANE], "at least -1"),
    ("Bias", [PLANE, (7,)], "does not fit the first"),
    ("Axpy", [(2, 4, 1, 2), PLANE, PLANE], "needs bottoms"),
    ("Concat concat_param { axis: 1 concat_dim: 1 }", [PLANE], "either axis or concat_dim"),
    ("Concat", [PLANE, (2, 4, 7, 8)], "differ elsewhere than along axis 1"),
    ("Slice top: 'x' top: 'y' top: 'z'", [PLANE], "3 equal pieces"),
    ("Slice top: 'x' top: 'y' slice_param { slice_point: 4 slice_point: 5 }", [PLANE], "does not cut an axis of 4"),
    ("Slice top: 'x' top: 'y' slice_param { slice_point: 5 }", [PLANE], "does not cut an axis of 4"),
    ("Crop crop_param { offset: 5 }", [PLANE, (2, 4, 5, 3)], "reaches beyond the bottom"),
    ("Crop crop_param { offset: [1, 1, 1] }", [PLANE, (2, 4, 5, 3)], "offset is given 3 times"),
    ("Reshape reshape_param { shape { dim: -1 dim: 5 } }", [PLANE], "another count"),
    ("Reshape reshape_param { shape { dim: -2 } }", [PLANE], "negative lengths"),
    ("Reshape reshape_param { shape { dim: 1 } axis: 6 }", [PLANE], "axis 6 is out of range"),
    ("Reshape reshape_param { shape { dim: 1 } num_axes: 5 }", [PLANE], "5 axes from axis 0 are not"),
    ("Permute permute_param { order: [0, 0] }", [PLANE], "each once"),
    ("Permute permute_param { order: 4 }", [PLANE], "does not name axes"),
    ("ShuffleChannel shuffle_channel_param { group: 3 }", [PLANE], "cannot be split into 3 groups"),
    ("Tile", [PLANE], "tiles must be given"),
    ("BatchReindex", [PLANE, (2, 1)], "must be 1-D"),
    ("Filter", [PLANE, (2, 2)], "one value per item"),
    ("Filter", [PLANE, (3,)], "differ in their items"),
    ("Filter top: 'x' top: 'y'", [PLANE, (2,)], "as many tops"),
    ("ArgMax argmax_param { axis: 1 top_k: 5 }", [PLANE], "from 1 to 4"),
    ("SoftmaxWithLoss", [PLANE, (2, 7)], "need 126 labels"),
    ("SoftmaxWithLoss", [PLANE, (1, 126)], "differ in their items"),
    ("EuclideanLoss", [(2, 4), (2, 3)], "values per item"),
    ("InfogainLoss", [(2, 4), (2,)], "third bottom, or its file"),
    ("InfogainLoss", [(2, 4), (2,), (3, 4)], "4 x 4 values"),
    ("InfogainLoss loss_param { normalize: true }", [(2, 4), (2,), (4, 4)], "its predecessor normalize"),
    ("ContrastiveLoss", [(2, 4), (2, 3), (2,)], "needs twice"),
    ("Accuracy accuracy_param { top_k: 5 }", [(2, 4), (2,)], "more than the 4 classes"),
    ("LSTM recurrent_param { num_output: 5 }", [(3, 2, 4), (2, 3)], "must be \\(T, N\\)"),
    ("LSTM", [(3, 2, 4), (3, 2)], "num_output must be at least 1"),
    ("RNN recurrent_param { num_output: 5 expose_hidden: true }", [(3, 2, 4), (3, 2)], "takes 3 bottoms"),
    ("PriorBox", [PLANE, PLANE], "needs min_size"),
    ("PriorBox prior_box_param { min_size: 5 max_size: 4 }", [PLANE, PLANE], "above its min_size"),
    ("PriorBox prior_box_param { min_size: 5 variance: [1, 2] }", [PLANE, PLANE], "one variance or four"),
    ("DetectionOutput", [(1, 8), (1, 4), (1, 2, 8)], "needs num_classes"),
    ("DetectionOutput detection_output_param { num_classes: 3 }", [(1, 8), (1, 4), (1, 2, 8)], "scores \\(N, 6\\)"),
    ("ROIPooling", [PLANE, (3, 5)], "must be above 0"),
    ("ROIPooling roi_pooling_param { pooled_h: 1 pooled_w: 1 }", [PLANE, (3, 4)], "must be \\(R, 5\\)"),
    (
        "PSROIPooling psroi_pooling_param { spatial_scale: 1 output_dim: 3 group_size: 1 }",
        [PLANE, (3, 5)],
        "4 channels are not output_dim 3",
    ),
    ("PriorBox prior_box_param { min_size: nan }", [PLANE, PLANE], "must be above 0"),
    ("Resize resize_param { is_pyramid_test: true out_height_scale: inf out_width_scale: 1 }", [PLANE], "above 0"),
    ("Interp interp_param { height: 3 }", [PLANE], "needs shrink_factor"),
    ("Resize", [PLANE], "needs height and width"),
    ("Correlation correlation_param { kernel_size: 2 max_displacement: 1 }", [PLANE, PLANE], "odd kernel_size"),
    ("Correlation correlation_param { kernel_size: 1 max_displacement: 4 }", [PLANE, PLANE], "padded pixels"),
    ("DummyData top: 'x' top: 'y' dummy_data_param { shape {} shape {} shape {} }", [], "3 shapes for 2 tops"),
    ("ReLU loss_weight: 1 loss_weight: 2", [PLANE], "2 loss_weight for 1 tops"),
    ("Tile tile_param { tiles: 2000000000 }", [PLANE], "more than Caffe can hold"),
]


@pytest.mark.parametrize(("layer", "shapes", "message"), CASES, ids=[f"{i}-{c[0][:60]}" for i, c in enumerate(CASES)])
def test_what_caffe_refuses(layer: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message) as error:
        summary(net_of(layer, shapes))
    kind = layer.partition(" ")[0]
    assert str(error.value).startswith(f"<text>:{len(shapes) + 1}: layer 'l' ({kind}): ") and "\n" not in str(
        error.value
    )


def test_all_unsupported_layers_are_listed_at_once() -> None:
    text = "input: 'x' input_shape { dim: 1 }\n" + "\n".join(
        f"layer {{ name: '{name}' type: '{kind}' bottom: 'x' top: '{name}' }}"
        for name, kind in [("p", "Python"), ("r", "ReLU"), ("q", "Proposal")]
    )
    with pytest.raises(UnsupportedLayersError) as error:
        summary(text)
    assert str(error.value) == (
        "<text>: 2 layers of unsupported type: Python ('p', line 2), Proposal ('q', line 4); "
        "add a type with converter.register"
    )


SHARED = """
input: 'x' input_shape {{ dim: 1 dim: 3 dim: 4 dim: 4 }}
layer {{ name: 'a' type: 'Convolution' bottom: 'x' top: 'a' param {{ name: 'w' {first} }} {a} }}
layer {{ name: 'b' type: 'Convolution' bottom: 'x' top: 'b' param {{ name: 'w' {second} }} {b} }}
"""
SQUARE = "convolution_param { num_output: 2 kernel_size: 2 bias_term: false }"
FLAT = "convolution_param { num_output: 2 kernel_h: 1 kernel_w: 4 bias_term: false }"
OTHER = "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }"


def test_blobs_are_shared_by_shape_or_if_permitted_by_count() -> None:
    summary(SHARED.format(first="", second="lr_mult: 2", a=SQUARE, b=SQUARE))
    with pytest.raises(NetError, match="cannot share 'w'"):
        summary(SHARED.format(first="", second="", a=SQUARE, b=FLAT))
    rows = summary(SHARED.format(first="", second="share_mode: PERMISSIVE", a=SQUARE, b=FLAT))
    assert [row["param_shapes"] for row in rows[1:]] == [[[2, 3, 2, 2]], [[2, 3, 1, 4]]]
    with pytest.raises(NetError, match="cannot share 'w'"):
        summary(SHARED.format(first="share_mode: PERMISSIVE", second="", a=SQUARE, b=FLAT))
    with pytest.raises(NetError, match="cannot share 'w'"):
        summary(SHARED.format(first="", second="share_mode: PERMISSIVE", a=SQUARE, b=OTHER))


def test_learning_rates_of_a_shared_blob_agree() -> None:
    with pytest.raises(NetError, match="lr_mult 2 of 'w' differs from its owner's 1"):
        summary(SHARED.format(first="lr_mult: 1", second="lr_mult: 2", a=SQUARE, b=SQUARE))
    with pytest.raises(NetError, match="decay_mult 0 of 'w' differs from its owner's 3"):
        summary(SHARED.format(first="decay_mult: 3", second="decay_mult: 0", a=SQUARE, b=SQUARE))
